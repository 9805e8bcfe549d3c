// Plain English, one token a word: what the simulated models say.
import type { Dice } from '../domain/clock.ts'
import { oneOf, wholeBetween } from './dice.ts'

const WORDS = `the a water river gate level flow stone bridge morning light rain field garden window paper letter story
answer question reason morning evening market house road hill forest summer winter voice music color number time place
people friend child teacher doctor farmer builder worker question word line page book table chair door wall floor roof
is was has had can will should may keeps holds opens closes moves brings takes gives makes finds shows tells asks turns
and but or so because while when where before after under over near with without from into through along between
small large quiet early late warm cold clear simple plain steady slow quick deep wide narrow old new good fair even open
it they we one each every some most many few this that these those here there now then often always never again also
still only just very quite almost enough together`.split(/\s+/) as [string, ...string[]]

const LEAST_WORDS_IN_SENTENCE = 5
const MOST_WORDS_IN_SENTENCE = 14

/** `count` tokens of sentences; joined without separators they are the text. The last one ends its sentence if `complete`. */
export function sentences(dice: Dice, count: number, complete: boolean): string[] {
  const pieces: string[] = []
  let left = 0
  for (let i = 0; i < count; i++) {
    const first = left === 0
    if (first) left = wholeBetween(dice, LEAST_WORDS_IN_SENTENCE, MOST_WORDS_IN_SENTENCE)
    left -= 1
    const word = oneOf(dice, WORDS)
    const last = left === 0 || (complete && i === count - 1)
    pieces.push(`${i === 0 ? '' : ' '}${first ? capitalised(word) : word}${last ? '.' : ''}`)
  }
  return pieces
}

function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}
