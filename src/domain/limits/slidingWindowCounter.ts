// Two counts, of this clock minute and the one before, of which so much counts as the last 60 seconds reach into it: as if
// what was taken then had come evenly.
//
// Guarantee: in each clock minute at most the limit, and in any t ≤ 60,000 ms at most limit × (1 + t / 60,000).
// Flaw: that assumption. When all of the last minute came at its end, up to twice the limit passes within 60 s (never at
// once); when it came at its beginning, too little does.
import { windowOf } from './fixedWindow.ts'
import { heldMs, type Meter, WINDOW_MS } from './meter.ts'

export class SlidingWindowCounter implements Meter {
  previous = 0
  current = 0
  asOfMs: number

  constructor(_limit: number, nowMs: number) {
    this.asOfMs = nowMs
  }

  advance(_limit: number, nowMs: number): void {
    const heldAtMs = heldMs(this.asOfMs, nowMs)
    const windows = windowOf(heldAtMs) - windowOf(this.asOfMs)
    this.asOfMs = heldAtMs
    if (windows <= 0) return
    this.previous = windows === 1 ? this.current : 0
    this.current = 0
  }

  msUntil(limit: number, amount: number): number {
    const elapsedMs = this.asOfMs % WINDOW_MS
    const room = limit - this.current - amount
    if (room >= 0) return Math.max(0, faded(this.previous, room) - elapsedMs)
    // In the next minute, then, when this one's count fades.
    return WINDOW_MS - elapsedMs + faded(this.current, limit - amount)
  }

  resetMs(limit: number): number {
    return this.msUntil(limit, limit)
  }

  /** The stamp is the time. */
  take(_limit: number, amount: number): number {
    this.current += amount
    return this.asOfMs
  }

  settle(limit: number, takenMs: number, reserved: number, charged: number): void {
    if (charged > reserved) this.take(limit, charged - reserved)
    else this.#giveBack(reserved - charged, takenMs)
  }

  #giveBack(amount: number, takenMs: number): void {
    if (takenMs > this.asOfMs) return
    const windows = windowOf(this.asOfMs) - windowOf(takenMs)
    if (windows === 0) this.current = Math.max(0, this.current - amount)
    else if (windows === 1) this.previous = Math.max(0, this.previous - amount)
  }

  remaining(limit: number): number {
    const counted = Math.ceil((this.previous * (WINDOW_MS - (this.asOfMs % WINDOW_MS))) / WINDOW_MS)
    return Math.max(0, limit - this.current - counted)
  }
}

/** How far into a minute no more than `room` of the count of the one before still counts. */
function faded(count: number, room: number): number {
  return count <= room ? 0 : WINDOW_MS - Math.floor((room * WINDOW_MS) / count)
}
