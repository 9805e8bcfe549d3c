// What a simulated model says: how many tokens, which, and why it stops. Decided when the call is admitted; told later.
import type { Dice } from '../domain/clock.ts'
import { wholeBetween } from './dice.ts'
import { at, type Json, type JsonObject } from './json.ts'
import { type ForcedTool, forcedTool } from './toolChoice.ts'
import { sentences } from './words.ts'

export interface Answer {
  /** One per output token. Joined they are the text, or the JSON of the tool's input. */
  pieces: string[]
  stop: 'end' | 'length' | 'tool'
  tool?: ForcedTool
}

/** Where the providers put the cap on an answer's length. */
const CAPS: string[][] = [
  ['inferenceConfig', 'maxTokens'],
  ['inferenceConfig', 'max_new_tokens'],
  ['inferenceConfig', 'maxNewTokens'],
  ['textGenerationConfig', 'maxTokenCount'],
  ['max_completion_tokens'],
  ['max_output_tokens'],
  ['max_tokens'],
  ['max_tokens_to_sample'],
  ['max_gen_len'],
  ['max_new_tokens'],
  ['maxTokens'],
  ['maxTokenCount'],
]
const CHARACTERS_PER_TOOL_TOKEN = 4

/** The request's cap, undefined when it sets none, or the field that holds something that cannot be a cap. */
export function readCap(body: JsonObject): { tokens: number | undefined } | { field: string } {
  for (const path of CAPS) {
    const found: Json | undefined = at(body, ...path)
    if (found === undefined || found === null) continue
    if (typeof found === 'number' && Number.isSafeInteger(found) && found > 0) return { tokens: found }
    return { field: path.join('.') }
  }
  return { tokens: undefined }
}

export function drawAnswer(dice: Dice, body: JsonObject, meanTokens: number, capTokens: number): Answer {
  const tool = forcedTool(body)
  if (tool) return { pieces: toolPieces(JSON.stringify(tool.input), capTokens), stop: 'tool', tool }
  const wanted = Math.max(1, Math.round(meanTokens * (0.5 + dice())))
  const stop = wanted > capTokens ? 'length' : 'end'
  return { pieces: sentences(dice, Math.min(wanted, capTokens), stop === 'end'), stop }
}

/** A tool call that was cut short would be of no use to a caller: under a small cap each token carries more of it. */
function toolPieces(json: string, capTokens: number): string[] {
  const size = Math.max(CHARACTERS_PER_TOOL_TOKEN, Math.ceil(json.length / capTokens))
  const pieces: string[] = []
  for (let from = 0; from < json.length; from += size) pieces.push(json.slice(from, from + size))
  return pieces
}

/** The answer as models stream it: the first token alone, then `least` to `most` at a time. */
export function* groups(dice: Dice, answer: Answer, most = 6): Generator<{ text: string; tokens: number }> {
  for (let from = 0, size = 1; from < answer.pieces.length; from += size, size = wholeBetween(dice, 1, most)) {
    const group = answer.pieces.slice(from, from + size)
    yield { text: group.join(''), tokens: group.length }
  }
}
