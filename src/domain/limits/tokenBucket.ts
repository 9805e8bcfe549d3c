// A bucket that holds a whole minute's limit (seen from its other side: of what is taken, `limit` a minute flows back).
//
// Guarantee: in any t ms at most limit × (1 + t / 60,000). Two seconds: 103 of 100 a minute.
// Flaw: after an idle minute, twice the limit passes within the next one: the stock, and what flows in.
import { Bucket } from './bucket.ts'
import { WINDOW_MS } from './meter.ts'

export class TokenBucket extends Bucket {
  override room(limit: number, amount: number): number {
    return (limit - amount) * WINDOW_MS
  }

  override remaining(limit: number): number {
    return Math.max(0, limit - Math.ceil(this.used / WINDOW_MS))
  }
}
