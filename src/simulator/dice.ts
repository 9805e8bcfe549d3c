// Chance from a seed. Every call has dice of its own, by seed and place in the order of arrival, one set for each purpose:
// so turning a fault on changes no answer, and a stream's neighbours do not change its bytes.
import type { Dice } from '../domain/clock.ts'

/** Mulberry32: a full period of 2^32, and good enough to draw words and waits. */
export function seededDice(...seeds: number[]): Dice {
  let state = 0x9e3779b9
  for (const seed of seeds) {
    state = Math.imul(state ^ (seed | 0), 0x85ebca6b)
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35)
    state ^= state >>> 16
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Evenly one of `least` … `most`, both included. */
export function wholeBetween(dice: Dice, least: number, most: number): number {
  return least + Math.floor(dice() * (most - least + 1))
}

export function oneOf<T>(dice: Dice, choices: readonly [T, ...T[]]): T {
  return choices[wholeBetween(dice, 0, choices.length - 1)] ?? choices[0]
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const LOWER = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** Names that look like Bedrock's, drawn from dice. */
export class Names {
  readonly #dice: Dice

  constructor(dice: Dice) {
    this.#dice = dice
  }

  /** Shaped as a version 4 UUID. */
  uuid(): string {
    const hex = Array.from({ length: 32 }, () => wholeBetween(this.#dice, 0, 15).toString(16))
    hex[12] = '4'
    hex[16] = wholeBetween(this.#dice, 8, 11).toString(16)
    const digits = hex.join('')
    return [
      [0, 8],
      [8, 12],
      [12, 16],
      [16, 20],
      [20, 32],
    ]
      .map(([from, to]) => digits.slice(from, to))
      .join('-')
  }

  /** "msg_bdrk_" + 01 + 22 letters and digits, as in the recordings. */
  after(prefix: string): string {
    return `${prefix}01${this.#drawn(BASE58, 22)}`
  }

  lowerCase(length: number): string {
    return this.#drawn(LOWER, length)
  }

  #drawn(alphabet: string, length: number): string {
    let out = ''
    for (let i = 0; i < length; i++) out += alphabet[wholeBetween(this.#dice, 0, alphabet.length - 1)]
    return out
  }
}
