// A count that starts anew with each minute of the clock.
//
// Guarantee: in each clock minute at most the limit.
// Flaw: twice the limit passes within two seconds, at the end of one minute and the beginning of the next. What was charged
// beyond a reservation is forgotten at the end of the minute too.
import { heldMs, type Meter, WINDOW_MS } from './meter.ts'

export class FixedWindow implements Meter {
  used = 0
  asOfMs: number

  constructor(_limit: number, nowMs: number) {
    this.asOfMs = nowMs
  }

  advance(_limit: number, nowMs: number): void {
    const heldAtMs = heldMs(this.asOfMs, nowMs)
    if (windowOf(heldAtMs) > windowOf(this.asOfMs)) this.used = 0
    this.asOfMs = heldAtMs
  }

  msUntil(limit: number, amount: number): number {
    return this.used + amount <= limit ? 0 : WINDOW_MS - (this.asOfMs % WINDOW_MS)
  }

  resetMs(limit: number): number {
    return this.msUntil(limit, limit)
  }

  /** The stamp is the time. */
  take(_limit: number, amount: number): number {
    this.used += amount
    return this.asOfMs
  }

  settle(limit: number, takenMs: number, reserved: number, charged: number): void {
    if (charged > reserved) this.take(limit, charged - reserved)
    else this.#giveBack(reserved - charged, takenMs)
  }

  #giveBack(amount: number, takenMs: number): void {
    if (takenMs <= this.asOfMs && windowOf(takenMs) === windowOf(this.asOfMs))
      this.used = Math.max(0, this.used - amount)
  }

  remaining(limit: number): number {
    return Math.max(0, limit - this.used)
  }
}

/** Which minute since the epoch. */
export function windowOf(atMs: number): number {
  return Math.floor(atMs / WINDOW_MS)
}
