// A bucket that holds one second of the limit and leaks steadily: an even stream, the same whatever went before. What is
// larger than the bucket passes when the bucket is empty, and fills it above its brim. Nobody waits in it: what does not
// fit is refused.
//
// Guarantee: in any t ms at most limit × t / 60,000 + the larger of one second's worth and the largest single amount.
// Flaw: a client that was idle may not catch up: two requests at once are one too many at 60 a minute.
import { Bucket } from './bucket.ts'
import { WINDOW_MS } from './meter.ts'

const DEPTH_MS = 1_000

export class LeakyBucket extends Bucket {
  override room(limit: number, amount: number): number {
    return Math.max(0, depth(limit) - amount * WINDOW_MS)
  }

  override remaining(limit: number): number {
    return Math.max(0, Math.floor((depth(limit) - this.used) / WINDOW_MS))
  }
}

/** One request at least. */
function depth(limit: number): number {
  return Math.max(limit * DEPTH_MS, WINDOW_MS)
}
