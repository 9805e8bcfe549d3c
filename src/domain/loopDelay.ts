// How late the event loop is, and whom that sheds. A process that has more to do than it can gets later and later with
// everything, until nobody is served in time; it stays on its feet when the least urgent are turned away at the door.
import { PRIORITIES, type Priority } from './model.ts'
import type { Refusal } from './refusal.ts'

/** How long a delay is remembered. */
const MEMORY_MS = 1_000
/** A class is let in again when the delay is below this part of what shut it out: or the two would take turns. */
const RELAPSE = 0.5
/** A delay counts for at most so many times the bound: a process that was stopped for a minute is well again after seconds. */
const MOST_COUNTED = 16
const SHORTEST_MS = 100
const LONGEST_MS = 30_000

export class LoopDelay {
  readonly #maxMs: number
  /** By rank, since the start. */
  readonly refused = PRIORITIES.map(() => 0)
  #delayMs = 0
  /** How many classes are shed, the lowest first. */
  #shed = 0

  /** `maxMs` sheds `low`, twice that `normal`, four times that all. */
  constructor(maxMs: number) {
    this.#maxMs = maxMs
  }

  /** Smoothed: what one who came at any moment of about the last second had to wait for. */
  get delayMs(): number {
    return this.#delayMs
  }

  get isLate(): boolean {
    return this.#shed > 0
  }

  /** Something due `everyMs` after the last time came `lateMs` later. A long delay weighs as much as it is long. */
  sample(everyMs: number, lateMs: number): void {
    const counted = Math.min(lateMs, MOST_COUNTED * this.#maxMs)
    const kept = Math.exp(-(everyMs + lateMs) / MEMORY_MS)
    this.#delayMs = this.#delayMs * kept + counted * (1 - kept)
    while (this.#shed < PRIORITIES.length && this.#delayMs > this.#boundMs(this.#shed)) this.#shed += 1
    while (this.#shed > 0 && this.#delayMs < this.#boundMs(this.#shed - 1) * RELAPSE) this.#shed -= 1
  }

  /** What one of the class is told, counted; undefined: come in. */
  shed(priority: Priority): Refusal | undefined {
    const rank = PRIORITIES.indexOf(priority)
    const fromBelow = PRIORITIES.length - 1 - rank
    if (fromBelow >= this.#shed) return undefined
    this.refused[rank]! += 1
    return {
      code: 'overloaded',
      message: 'This gateway has more to do than it can, please wait before trying again.',
      retryAfterMs: this.#reopensInMs(this.#boundMs(fromBelow) * RELAPSE),
    }
  }

  /** If nothing more came late. */
  #reopensInMs(belowMs: number): number {
    const forgottenMs = MEMORY_MS * Math.log(this.#delayMs / belowMs)
    return Math.round(Math.min(Math.max(forgottenMs, SHORTEST_MS), LONGEST_MS))
  }

  /** Of the class that is shed after `others` have been. */
  #boundMs(others: number): number {
    return this.#maxMs * 2 ** others
  }
}
