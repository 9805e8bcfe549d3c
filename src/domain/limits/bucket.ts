// What two of the algorithms share: an amount that drains steadily, `limit` a minute.
//
// A call that ends gives back what it reserved and did not use, but only what has not drained by itself meanwhile: a bucket
// that ran empty would count it twice. What all open calls together may still give back is never more than what is in the
// bucket; when draining makes it less, they share what there is (`pool`), and those that shared one before get nothing. The
// bucket thus never holds less than if every call had put in its charge at once.
import { heldMs, type Meter, WINDOW_MS } from './meter.ts'

/** Amounts are in 1/60000 of a unit: `limit` of these drain in one ms. */
export abstract class Bucket implements Meter {
  used = 0
  asOfMs: number
  /** Calls so far: each call's number is its stamp. */
  calls = 0
  /** Reserved by open calls after `sharing`: they may give back all of it. */
  fresh = 0
  /** What those from `shared` to `sharing` may give back together. */
  pool = 0
  shared = 0
  sharing = 0

  constructor(_limit: number, nowMs: number) {
    this.asOfMs = nowMs
  }

  /** How full it may be for the amount to fit. */
  abstract room(limit: number, amount: number): number
  abstract remaining(limit: number): number

  advance(limit: number, nowMs: number): void {
    const heldAtMs = heldMs(this.asOfMs, nowMs)
    // No longer than it takes to run empty, so that the product stays exact.
    const drainMs = Math.max(0, Math.min(heldAtMs - this.asOfMs, Math.ceil(this.used / limit)))
    this.asOfMs = heldAtMs
    this.used = Math.max(0, this.used - drainMs * limit)
    if (this.fresh + this.pool <= this.used) return
    if (this.fresh <= this.used) {
      this.pool = this.used - this.fresh
      return
    }
    this.shared = this.sharing
    this.sharing = this.calls
    this.pool = this.used
    this.fresh = 0
  }

  msUntil(limit: number, amount: number): number {
    return Math.max(0, Math.ceil((this.used - this.room(limit, amount)) / limit))
  }

  resetMs(limit: number): number {
    return Math.ceil(this.used / limit)
  }

  take(_limit: number, amount: number): number {
    this.used += amount * WINDOW_MS
    this.fresh += amount * WINDOW_MS
    this.calls += 1
    return this.calls
  }

  settle(_limit: number, stamp: number, reserved: number, charged: number): void {
    const isFresh = stamp > this.sharing
    if (isFresh) this.fresh = Math.max(0, this.fresh - reserved * WINDOW_MS)
    const more = (charged - reserved) * WINDOW_MS
    if (more >= 0) {
      this.used += more
      return
    }
    const givable = isFresh ? this.used : stamp > this.shared ? this.pool : 0
    const given = Math.min(-more, givable)
    this.used -= given
    if (!isFresh) this.pool -= Math.min(given, this.pool)
  }
}
