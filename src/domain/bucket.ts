// The token bucket of one quota dimension (requests or tokens), shaped so that what small requests take in ANY 60 s stays
// within the quota, whatever window Bedrock itself uses, and yet a busy pool is used to the last few per cent.
//
// It has two speeds. A bucket that holds a stock may pay it out at once, so for a minute after it held one it refills at
// quota − burst: burst + refill = quota. A bucket that has held none for a minute has nothing to pay out, so it may refill
// at quota − stock. A window that begins above the stock is slow throughout; one that begins below it gets at most
// stock + (quota − stock). Settlements come on top: what they give back may be spent at once. docs/decisions/0002-two-speed-bucket.md has the figures.

/** Fixed for a pool until its quota changes. Amounts are requests or tokens, rates are amounts per millisecond. */
export interface BucketShape {
  quotaPerMinute: number
  burst: number
  /** Holding more than this counts as having a stock. */
  stock: number
  slowRate: number
  fastRate: number
}

/** `level` may be negative: a debt, paid back by refill before anything else passes. */
export interface BucketState {
  level: number
  asOfMs: number
  /** When the level was last known above the stock. */
  stockedAtMs: number
}

const WINDOW_MS = 60_000
/** The part of the quota a busy pool leaves unused: it covers messages that bunch up on their way to Bedrock. */
const STOCK_SHARE = 0.02
/** A clock that steps back by more than this has been replaced (a failed-over primary): resync, without credit. */
const CLOCK_STEP_MS = 2_000
/** Requests and tokens are whole: a burst or stock below one would never let anything pass. */
const SMALLEST_UNIT = 1

/** `burstShare` is the part of a minute's quota that may pass at once. */
export function bucketShape(quotaPerMinute: number, burstShare: number): BucketShape {
  const burst = Math.max(quotaPerMinute * burstShare, SMALLEST_UNIT)
  const slowRate = (quotaPerMinute * (1 - burstShare)) / WINDOW_MS
  return {
    quotaPerMinute,
    burst,
    stock: Math.min(burst, Math.max(quotaPerMinute * STOCK_SHARE, SMALLEST_UNIT)),
    slowRate,
    fastRate: Math.max(slowRate, (quotaPerMinute * (1 - STOCK_SHARE)) / WINDOW_MS),
  }
}

/** A new ledger knows nothing of what was spent before it: it starts empty and at the slow speed. */
export function emptyBucket(nowMs: number): BucketState {
  return { level: 0, asOfMs: nowMs, stockedAtMs: nowMs }
}

/** Brings `state` up to `nowMs`, in place. */
export function refill(state: BucketState, shape: BucketShape, nowMs: number): void {
  const elapsedMs = nowMs - state.asOfMs
  if (elapsedMs < -CLOCK_STEP_MS) {
    state.asOfMs = nowMs
    state.stockedAtMs = nowMs
  }
  if (elapsedMs <= 0) return
  const { slowMs, fastMs } = phases(state, shape, elapsedMs)
  state.level = Math.min(shape.burst, state.level + slowMs * shape.slowRate + fastMs * shape.fastRate)
  state.asOfMs = nowMs
  if (state.level > shape.stock) state.stockedAtMs = nowMs
}

/** Milliseconds until the level reaches `wanted` (at most the burst), 0 when it has. */
export function msUntil(state: BucketState, shape: BucketShape, wanted: number): number {
  const missing = Math.min(wanted, shape.burst) - state.level
  if (missing <= 0) return 0
  const atSlowMs = missing / shape.slowRate
  const { slowMs, fastMs } = phases(state, shape, atSlowMs)
  // Not fast at all by then, or fast up to the stock and slow from there on.
  const gained = fastMs * (shape.fastRate - shape.slowRate)
  if (gained <= 0) return atSlowMs
  const leadMs = Math.max(0, slowUntilMs(state) - state.asOfMs)
  const beforeFast = state.level + leadMs * shape.slowRate
  const atFastMs = (Math.min(wanted, shape.stock) - beforeFast) / shape.fastRate
  return wanted <= shape.stock ? leadMs + atFastMs : slowMs + fastMs - gained / shape.slowRate
}

/** How an interval from `state.asOfMs` divides: slow until a minute after the last stock, then fast until there is one. */
function phases(state: BucketState, shape: BucketShape, elapsedMs: number): { slowMs: number; fastMs: number } {
  const leadMs = Math.min(elapsedMs, Math.max(0, slowUntilMs(state) - state.asOfMs))
  const reached = state.level + leadMs * shape.slowRate
  if (reached >= shape.stock) return { slowMs: elapsedMs, fastMs: 0 }
  const fastMs = Math.min(elapsedMs - leadMs, (shape.stock - reached) / shape.fastRate)
  return { slowMs: elapsedMs - fastMs, fastMs }
}

function slowUntilMs(state: BucketState): number {
  return state.stockedAtMs + WINDOW_MS
}
