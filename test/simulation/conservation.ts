// Never more than the quota: what a pool may admit, held against every interval of a run, not only the whole of it.
//
// In any interval of t, admitted ≤ burst + fastRate·t + refunds + what a purse held when it began (at most max(Q/2, largest
// request)) + the debt in which it ended (at most largest − burst, where a request may exceed the burst). With L the running sum of
// admitted − refunded − fastRate·t, that is L(end) − L(just before an admission) ≤ burst + allowance for every pair, so
// it is enough to remember the least L so far. A charge beyond the reservation is no admission (nothing can prevent it):
// it leaves a debt, and takes nothing from what others had. Net of all settlements, small requests never exceed Q in 60 s.
import { type BucketShape, bucketShape } from '../../src/domain/bucket.ts'
import type { PoolQuota } from '../../src/domain/pool.ts'
import type { LedgerWatch } from './ledger.ts'
import type { VirtualTime } from './virtualTime.ts'

const MINUTE_MS = 60_000
/** Of a whole bound: levels are sums of many fractions. */
const ROUNDING = 1e-6

export interface Conservation {
  /** Of pool and dimension: the largest part of that bound which any interval reached. At most 1. */
  bound: number
  /** The same without the debt, as ALGORITHMS.md has it: a purse spent and a debt made in one interval exceed it by a little. */
  'bound, no debt': number
  /** The largest part of a minute's quota that any 60 s took, net of settlements. At most 1 for small requests. */
  minute: number
}

class Meter {
  readonly #shape: BucketShape
  readonly #time: VirtualTime
  #run = 0
  #least = 0
  #asOfMs = 0
  #largest = 0
  #steepest = Number.NEGATIVE_INFINITY
  readonly #lately: { atMs: number; amount: number }[] = []
  #first = 0
  #inMinute = 0
  #mostInMinute = 0

  constructor(time: VirtualTime, shape: BucketShape) {
    this.#time = time
    this.#shape = shape
  }

  admit(amount: number): void {
    this.#flow()
    this.#least = Math.min(this.#least, this.#run)
    this.#largest = Math.max(this.#largest, amount)
    this.#run += amount
    this.#count(amount)
    this.#steepest = Math.max(this.#steepest, this.#run - this.#least)
    this.#mostInMinute = Math.max(this.#mostInMinute, this.#inMinute)
  }

  /** Below 0: charged on top. */
  giveBack(amount: number): void {
    this.#flow()
    if (amount > 0) this.#run -= amount
    this.#count(-amount)
  }

  result(): Conservation {
    const { burst, quotaPerMinute } = this.#shape
    const withoutDebt = burst + Math.max(quotaPerMinute / 2, this.#largest)
    const bound = withoutDebt + Math.max(0, this.#largest - burst)
    return {
      bound: this.#steepest / bound - ROUNDING,
      'bound, no debt': this.#steepest / withoutDebt - ROUNDING,
      minute: this.#mostInMinute / quotaPerMinute - ROUNDING,
    }
  }

  #flow(): void {
    const { nowMs } = this.#time
    this.#run -= this.#shape.fastRate * (nowMs - this.#asOfMs)
    this.#asOfMs = nowMs
    while (this.#first < this.#lately.length && this.#lately[this.#first]!.atMs <= nowMs - MINUTE_MS) {
      this.#inMinute -= this.#lately[this.#first]!.amount
      this.#first += 1
    }
  }

  #count(amount: number): void {
    this.#inMinute += amount
    this.#lately.push({ atMs: this.#time.nowMs, amount })
  }
}

export class ConservationAudit implements LedgerWatch {
  readonly #requests = new Map<string, Meter>()
  readonly #tokens = new Map<string, Meter>()

  constructor(time: VirtualTime, pools: ({ name: string } & PoolQuota)[], burstShare: number) {
    for (const { name, requestsPerMinute, tokensPerMinute } of pools) {
      if (requestsPerMinute) this.#requests.set(name, new Meter(time, bucketShape(requestsPerMinute, burstShare)))
      if (tokensPerMinute) this.#tokens.set(name, new Meter(time, bucketShape(tokensPerMinute, burstShare)))
    }
  }

  admitted(pool: string, tokens: number): void {
    this.#requests.get(pool)?.admit(1)
    this.#tokens.get(pool)?.admit(tokens)
  }

  settled(pool: string, reservedTokens: number, chargedTokens: number): void {
    this.#tokens.get(pool)?.giveBack(reservedTokens - chargedTokens)
  }

  /** The worst over all pools and both dimensions. */
  result(): Conservation {
    const meters = [...this.#requests.values(), ...this.#tokens.values()].map(meter => meter.result())
    const most = (part: keyof Conservation) => Math.max(...meters.map(one => one[part]))
    return { bound: most('bound'), 'bound, no debt': most('bound, no debt'), minute: most('minute') }
  }
}
