// One Bedrock quota that can serve a model: a requests bucket and a tokens bucket, taken from together or not at all.
// Either may be absent: that dimension is unlimited. Beside the tokens bucket stands a purse, in which the pool saves for
// the large request it will serve next (purse.ts).
import { type BucketShape, type BucketState, bucketShape, emptyBucket, msUntil, refill } from './bucket.ts'

export interface PoolQuota {
  requestsPerMinute?: number | undefined
  tokensPerMinute?: number | undefined
}

export type Dimension = 'requests' | 'tokens'

/** Who may pass: everybody, nobody, or so many more requests (probes of a pool that failed). */
export const OPEN_TO_ALL = -1
export const SHUT = 0

const SHORTEST_HOLD_MS = 500
const LONGEST_HOLD_MS = 4_000
const LONGEST_PAID_MS = 120_000
/** Levels are fractions: what is missing by less than this is there. */
export const TRIFLE = 1e-6

interface Bucket {
  shape: BucketShape
  state: BucketState
}

export class Pool {
  readonly name: string
  /** As configured. The buckets refill at what is believed of it (`pace`). */
  #quota: PoolQuota
  #burstShare: number
  requests: Bucket | undefined
  tokens: Bucket | undefined
  /** Tokens saved; taken from the bucket, and given to one large request whole. */
  purse = 0
  gate = OPEN_TO_ALL
  /** Until then nothing passes: the upstream has just said that its own bucket is empty. */
  heldUntilMs = 0
  /** Until then what left the purse is ahead of what flowed in: nothing is lent on top of it. */
  paidUntilMs = 0
  /** Whether a head was blocked by the bucket, since somebody last took note. */
  readonly limited: Record<Dimension, boolean> = { requests: false, tokens: false }

  constructor(name: string, quota: PoolQuota, burstShare: number, nowMs: number) {
    this.name = name
    this.#quota = quota
    this.#burstShare = burstShare
    this.requests = bucket(quota.requestsPerMinute, burstShare, nowMs)
    this.tokens = bucket(quota.tokensPerMinute, burstShare, nowMs)
  }

  get isOpen(): boolean {
    return this.gate !== SHUT
  }

  /** New quotas; the levels stay, at most at the new bursts. A dimension that was unlimited starts empty. */
  resize(quota: PoolQuota, burstShare: number, nowMs: number): void {
    this.#quota = quota
    this.#burstShare = burstShare
    this.requests = resized(this.requests, bucket(quota.requestsPerMinute, burstShare, nowMs))
    this.tokens = resized(this.tokens, bucket(quota.tokensPerMinute, burstShare, nowMs))
    if (!this.tokens) this.purse = 0
  }

  /** What the quota is believed to be, from now on; a dimension that is unlimited stays so. */
  pace(believed: PoolQuota, nowMs: number): void {
    const { requestsPerMinute, tokensPerMinute } = believed
    if (this.requests && requestsPerMinute !== undefined)
      this.requests = resized(this.requests, bucket(requestsPerMinute, this.#burstShare, nowMs))
    if (this.tokens && tokensPerMinute !== undefined)
      this.tokens = resized(this.tokens, bucket(tokensPerMinute, this.#burstShare, nowMs))
  }

  /** Whether a whole minute's configured quota could hold the request: if not, no wait would help. */
  canEverHold(tokens: number): boolean {
    return tokens <= this.mostTokens
  }

  get mostTokens(): number {
    return this.#quota.tokensPerMinute ?? Number.POSITIVE_INFINITY
  }

  refill(nowMs: number): void {
    // A clock that stepped back would make a short rest a long one.
    this.heldUntilMs = Math.min(this.heldUntilMs, nowMs + LONGEST_HOLD_MS)
    this.paidUntilMs = Math.min(this.paidUntilMs, nowMs + LONGEST_PAID_MS)
    if (this.requests) refill(this.requests.state, this.requests.shape, nowMs)
    if (this.tokens) refill(this.tokens.state, this.tokens.shape, nowMs)
  }

  /**
   * Milliseconds until one request of `tokens` may pass that leaves the part `headroom` of each burst, 0 for now; call
   * after `refill`. A request larger than the burst passes when the bucket is full and leaves a debt.
   */
  msUntilFits(tokens: number, headroom: number, nowMs: number): number {
    return Math.max(
      this.msUntilRequest(headroom, nowMs),
      this.tokens ? msUntilLevel(this.tokens, tokens + headroom * this.tokens.shape.burst) : 0,
    )
  }

  /** The same for the request alone: its tokens are in the purse. */
  msUntilRequest(headroom: number, nowMs: number): number {
    const requestsMs = this.requests ? msUntilLevel(this.requests, 1 + headroom * this.requests.shape.burst) : 0
    return Math.max(requestsMs, this.heldUntilMs - nowMs, 0)
  }

  /** A request of `tokens`, or 'saved' if they are in the purse, may not pass now: notes which bucket is too empty for it. */
  noteBlocked(tokens: number | 'saved', headroom: number): void {
    const { requests, tokens: bucket, limited } = this
    if (requests && isShort(requests, 1 + headroom * requests.shape.burst)) limited.requests = true
    if (tokens !== 'saved' && bucket && isShort(bucket, tokens + headroom * bucket.shape.burst)) limited.tokens = true
  }

  /** Level over burst of each bucket, at most 1, what is in the purse included: it has not been sent. */
  get fill(): Record<Dimension, number> {
    const of = (bucket: Bucket | undefined, saved: number) =>
      bucket ? Math.min(1, (bucket.state.level + saved) / bucket.shape.burst) : 1
    return { requests: of(this.requests, 0), tokens: of(this.tokens, this.purse) }
  }

  /** The upstream throttled a ticket for the `times`th time: rest, longer each time. */
  hold(times: number, nowMs: number): void {
    const holdMs = Math.min(SHORTEST_HOLD_MS * 2 ** (times - 1), LONGEST_HOLD_MS)
    this.heldUntilMs = Math.max(this.heldUntilMs, nowMs + holdMs)
  }

  take(tokens: number): void {
    this.#admitOne()
    if (this.tokens) this.tokens.state.level -= tokens
  }

  takeFromPurse(tokens: number, nowMs: number): void {
    this.#admitOne()
    this.purse -= tokens
    if (this.tokens) this.paidUntilMs = Math.max(this.paidUntilMs, nowMs) + tokens / this.tokens.shape.slowRate
  }

  /** Moves tokens from the bucket into the purse, or, below 0, back: at most to a full bucket. */
  save(tokens: number): void {
    if (!this.tokens) return
    this.purse += tokens
    const { state, shape } = this.tokens
    state.level = Math.min(shape.burst, state.level - tokens)
  }

  /** Nothing is left of what was saved up; debts stay. */
  empty(): void {
    this.purse = 0
    for (const bucket of [this.requests, this.tokens]) if (bucket) bucket.state.level = Math.min(0, bucket.state.level)
  }

  /** `tokens` > 0: refunded by a settlement; < 0: charged in excess of the reservation. */
  giveBack(tokens: number): void {
    if (!this.tokens) return
    const { state, shape } = this.tokens
    state.level = Math.min(shape.burst, state.level + tokens)
  }

  /** Seconds of quota left after a request of `tokens`, of the scarcer dimension: the pool with the most water is picked. */
  waterSeconds(tokens: number): number {
    const left = (bucket: Bucket | undefined, amount: number) =>
      bucket ? ((bucket.state.level - amount) / bucket.shape.quotaPerMinute) * 60 : Number.POSITIVE_INFINITY
    return Math.min(left(this.requests, 1), left(this.tokens, tokens))
  }

  #admitOne(): void {
    if (this.requests) this.requests.state.level -= 1
    if (this.gate > 0) this.gate -= 1
  }
}

/** Whether all pools are shut that could ever hold a request of `tokens`; not when there are none. */
export function allShut(pools: { gate: number; mostTokens: number }[], tokens: number): boolean {
  const able = pools.filter(pool => tokens <= pool.mostTokens)
  return able.length > 0 && able.every(pool => pool.gate === SHUT)
}

function bucket(quotaPerMinute: number | undefined, burstShare: number, nowMs: number): Bucket | undefined {
  if (quotaPerMinute === undefined) return undefined
  return { shape: bucketShape(quotaPerMinute, burstShare), state: emptyBucket(nowMs) }
}

function resized(before: Bucket | undefined, after: Bucket | undefined): Bucket | undefined {
  if (!before || !after) return after
  const level = Math.min(before.state.level, after.shape.burst)
  return { shape: after.shape, state: { ...before.state, level } }
}

function msUntilLevel(bucket: Bucket, wanted: number): number {
  return isShort(bucket, wanted) ? msUntil(bucket.state, bucket.shape, wanted) : 0
}

function isShort({ state, shape }: Bucket, wanted: number): boolean {
  return state.level < Math.min(wanted, shape.burst) - TRIFLE
}
