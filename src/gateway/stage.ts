// One of the stages a request goes through, with a bound. A full stage takes nobody else in: it says no at once, and when it
// will have room, from how long those within have stayed of late.
import type { Clock } from '../domain/clock.ts'
import { PRIORITIES, type Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'

/** In the order a request meets them. */
export const STAGES = ['receive', 'identify', 'price', 'admit', 'send', 'settle'] as const
export type StageName = (typeof STAGES)[number]

/** How a stage stands. Of `receive` both figures are bytes, of the others requests. */
export interface StageReading {
  stage: StageName
  depth: number
  limit: number
}

export interface Durations {
  observe(seconds: number): void
}

/** By rank, the part of the limit that a class may fill: the last of it is kept for those who matter more. */
const FILLS = [1, 0.9, 0.8]
/** What has not been measured for so long has no say in how long a stay lasts. */
const MEMORY_MS = 10_000
/** What those are told who are refused before anybody has left. */
const UNMEASURED_MS = 1_000
const SHORTEST_MS = 100
const LONGEST_MS = 30_000
/** A stage that has refused counts as full for so long. */
const FULL_MS = 5_000

export class Stage {
  readonly name: StageName
  readonly limit: number
  readonly #clock: Clock
  readonly #durations: Durations
  /** By rank, since the start. */
  readonly refused = PRIORITIES.map(() => 0)
  #depth = 0
  /** Depth × ms, and what has left, both forgotten at the same pace: their quotient is the mean stay (Little's law). */
  #stayed = 0
  #left = 0
  #atMs: number
  #refusedAtMs = Number.NEGATIVE_INFINITY

  constructor(name: StageName, limit: number, clock: Clock, durations: Durations) {
    this.name = name
    this.limit = limit
    this.#clock = clock
    this.#durations = durations
    this.#atMs = clock.nowMs()
  }

  get depth(): number {
    return this.#depth
  }

  reading(): StageReading {
    return { stage: this.name, depth: this.#depth, limit: this.limit }
  }

  /** It refused somebody a moment ago: what is wanted of it need not be of the size that is left. */
  get isFull(): boolean {
    return this.#clock.nowMs() - this.#refusedAtMs < FULL_MS
  }

  /** Nothing is taken. */
  fits(priority: Priority, amount = 1): boolean {
    return amount <= this.free(priority)
  }

  /** What the class may still take. */
  free(priority: Priority): number {
    return Math.ceil(this.limit * FILLS[PRIORITIES.indexOf(priority)]!) - this.#depth
  }

  /** False: it does not fit, and nothing was taken. What was taken must be given back by `leave`. */
  enter(priority: Priority, amount = 1): boolean {
    if (!this.fits(priority, amount)) return false
    this.#pass()
    this.#depth += amount
    return true
  }

  leave(amount = 1): void {
    this.#pass()
    this.#depth -= amount
    this.#left += amount
  }

  took(ms: number): void {
    this.#durations.observe(Math.max(0, ms) / 1000)
  }

  /** Counted, too. */
  refusal(priority: Priority): Refusal {
    this.refused[PRIORITIES.indexOf(priority)]! += 1
    this.#refusedAtMs = this.#clock.nowMs()
    return this.#refusal(`Too many requests are in this gateway (${this.name})`)
  }

  /** The stage is not full, so it is not counted here: `holder` has all that is to be had by one. */
  refusalOf(holder: string): Refusal {
    return this.#refusal(`${holder} as much as one may of this gateway (${this.name})`)
  }

  #refusal(reason: string): Refusal {
    const message = `${reason}, please wait before trying again.`
    return { code: 'overloaded', message, retryAfterMs: this.#meanStayMs() }
  }

  /** By then as much will have left as is in it now. While nobody leaves it grows with the time that passes. */
  #meanStayMs(): number {
    this.#pass()
    const stayMs = this.#left === 0 ? UNMEASURED_MS : this.#stayed / this.#left
    return Math.round(Math.min(Math.max(stayMs, SHORTEST_MS), LONGEST_MS))
  }

  #pass(): void {
    const nowMs = this.#clock.nowMs()
    const passedMs = nowMs - this.#atMs
    if (passedMs === 0) return
    this.#atMs = nowMs
    // The clock was set back.
    if (passedMs < 0) return
    const kept = Math.exp(-passedMs / MEMORY_MS)
    this.#stayed = this.#stayed * kept + this.#depth * passedMs
    this.#left *= kept
  }
}
