// Every amount with its time; what is 60 seconds old counts no more.
//
// Guarantee: in any 60,000 ms at most the limit. No other of the five keeps it.
// Flaw: memory. Amounts of one slot of 60 ms share an entry that lasts as long as the latest of them, so a log has at most
// 1,001 entries, whatever it counts (and never more than calls in the last minute); a burst within a slot ends as one, up to
// 59 ms later than its first.
import { heldMs, type Meter, WINDOW_MS } from './meter.ts'

const SLOT_MS = 60

interface Entry {
  atMs: number
  amount: number
}

export class SlidingWindowLog implements Meter {
  /** By time. */
  entries: Entry[] = []
  total = 0
  asOfMs: number

  constructor(_limit: number, nowMs: number) {
    this.asOfMs = nowMs
  }

  advance(_limit: number, nowMs: number): void {
    const heldAtMs = heldMs(this.asOfMs, nowMs)
    // Times of a clock that was replaced mean nothing any more: all of it counts as of now.
    if (heldAtMs < this.asOfMs) this.entries = [{ atMs: heldAtMs, amount: this.total }]
    this.asOfMs = heldAtMs
    while (this.entries[0] && this.entries[0].atMs <= heldAtMs - WINDOW_MS) this.total -= this.entries.shift()!.amount
  }

  msUntil(limit: number, amount: number): number {
    let over = this.total + amount - limit
    if (over <= 0) return 0
    for (const entry of this.entries) {
      over -= entry.amount
      if (over <= 0) return entry.atMs + WINDOW_MS - this.asOfMs
    }
    return WINDOW_MS
  }

  /** As long as the newest entry lasts, even if all of it was given back. */
  resetMs(): number {
    return this.total === 0 ? 0 : this.entries.at(-1)!.atMs + WINDOW_MS - this.asOfMs
  }

  /** The stamp is the time. */
  take(_limit: number, amount: number): number {
    const newest = this.entries.at(-1)
    if (newest && slotOf(newest.atMs) === slotOf(this.asOfMs)) {
      newest.amount += amount
      newest.atMs = this.asOfMs
    } else this.entries.push({ atMs: this.asOfMs, amount })
    this.total += amount
    return this.asOfMs
  }

  settle(limit: number, takenMs: number, reserved: number, charged: number): void {
    if (charged > reserved) this.take(limit, charged - reserved)
    else this.#giveBack(reserved - charged, takenMs)
  }

  #giveBack(amount: number, takenMs: number): void {
    if (takenMs > this.asOfMs) return
    const entry = this.entries.findLast(one => slotOf(one.atMs) === slotOf(takenMs))
    if (!entry) return
    const given = Math.min(amount, entry.amount)
    entry.amount -= given
    this.total -= given
  }

  remaining(limit: number): number {
    return Math.max(0, limit - this.total)
  }
}

function slotOf(atMs: number): number {
  return Math.floor(atMs / SLOT_MS)
}
