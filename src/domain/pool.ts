// One Bedrock quota that can serve a model: a requests bucket and a tokens bucket, taken from together or not at all.
// Either may be absent: that dimension is unlimited.
import { type BucketShape, type BucketState, bucketShape, emptyBucket, msUntil, refill } from './bucket.ts'

export interface PoolQuota {
  requestsPerMinute?: number | undefined
  tokensPerMinute?: number | undefined
}

export type Dimension = 'requests' | 'tokens'

const SHORTEST_HOLD_MS = 500
const LONGEST_HOLD_MS = 4_000

interface Bucket {
  shape: BucketShape
  state: BucketState
}

export class Pool {
  readonly name: string
  readonly requests: Bucket | undefined
  readonly tokens: Bucket | undefined
  /** Until then nothing passes: the upstream has just said that its own bucket is empty. */
  heldUntilMs = Number.NEGATIVE_INFINITY

  constructor(name: string, quota: PoolQuota, burstShare: number, nowMs: number) {
    this.name = name
    this.requests = bucket(quota.requestsPerMinute, burstShare, nowMs)
    this.tokens = bucket(quota.tokensPerMinute, burstShare, nowMs)
  }

  /** Whether a whole minute's quota could hold the request: if not, no wait would help. */
  canEverHold(tokens: number): boolean {
    return this.tokens === undefined || tokens <= this.tokens.shape.quotaPerMinute
  }

  refill(nowMs: number): void {
    // A clock that stepped back would make a short rest a long one.
    if (this.heldUntilMs > nowMs + LONGEST_HOLD_MS) this.heldUntilMs = nowMs + LONGEST_HOLD_MS
    if (this.requests) refill(this.requests.state, this.requests.shape, nowMs)
    if (this.tokens) refill(this.tokens.state, this.tokens.shape, nowMs)
  }

  /**
   * Milliseconds until one request of `tokens` may pass, 0 for now; call after `refill`. A request larger than the burst
   * passes when the bucket is full and leaves a debt, so that it is neither starved nor ahead of its pace.
   */
  msUntilFits(tokens: number, nowMs: number): number {
    const requestsMs = this.requests ? msUntil(this.requests.state, this.requests.shape, 1) : 0
    const tokensMs = this.tokens ? msUntil(this.tokens.state, this.tokens.shape, tokens) : 0
    return Math.max(requestsMs, tokensMs, this.heldUntilMs - nowMs, 0)
  }

  /** The upstream throttled a ticket for the `times`th time: rest, longer each time. */
  hold(times: number, nowMs: number): void {
    const holdMs = Math.min(SHORTEST_HOLD_MS * 2 ** (times - 1), LONGEST_HOLD_MS)
    this.heldUntilMs = Math.max(this.heldUntilMs, nowMs + holdMs)
  }

  take(tokens: number): void {
    if (this.requests) this.requests.state.level -= 1
    if (this.tokens) this.tokens.state.level -= tokens
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
}

function bucket(quotaPerMinute: number | undefined, burstShare: number, nowMs: number): Bucket | undefined {
  if (quotaPerMinute === undefined) return undefined
  return { shape: bucketShape(quotaPerMinute, burstShare), state: emptyBucket(nowMs) }
}
