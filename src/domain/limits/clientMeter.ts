// What one client has used of its limits: a call takes of each or of none, and a refused one leaves no trace.
import {
  CONCURRENT_RETRY_MS,
  chargeOf,
  type Denial,
  type Level,
  type Levels,
  type LimitKind,
  type LimitSettings,
} from './clientLimits.ts'
import { FixedWindow } from './fixedWindow.ts'
import { LeakyBucket } from './leakyBucket.ts'
import type { Algorithm, Meter } from './meter.ts'
import { SlidingWindowCounter } from './slidingWindowCounter.ts'
import { SlidingWindowLog } from './slidingWindowLog.ts'
import { TokenBucket } from './tokenBucket.ts'

const METERS: Record<Algorithm, new (limit: number, nowMs: number) => Meter> = {
  'token-bucket': TokenBucket,
  'leaky-bucket': LeakyBucket,
  'sliding-window-counter': SlidingWindowCounter,
  'sliding-window-log': SlidingWindowLog,
  'fixed-window': FixedWindow,
}

export class ClientMeter {
  #algorithm: Algorithm | undefined
  #requests: Meter | undefined
  #tokens: Meter | undefined
  /** Of the last call that took tokens. */
  #stamp = 0
  #inFlight = 0

  /**
   * Undefined: taken. Another limit than before holds at once, and what was used stays used; another algorithm begins with
   * nothing used.
   */
  take(settings: LimitSettings, tokens: number, nowMs: number): Denial | undefined {
    const { requestsPerMinute, tokensPerMinute, concurrent } = settings
    this.#advance(settings, nowMs)
    const denial = longest(
      wait(this.#requests, requestsPerMinute, 1),
      wait(this.#tokens, tokensPerMinute, tokens),
      concurrent !== undefined && this.#inFlight >= concurrent ? CONCURRENT_RETRY_MS : 0,
    )
    if (denial) return denial
    this.#requests?.take(requestsPerMinute!, 1)
    if (tokens > 0) this.#stamp = this.#tokens?.take(tokensPerMinute!, tokens) ?? 0
    this.#inFlight += 1
    return undefined
  }

  /** What ends the call just taken, to be called once: the reservation becomes the charge. */
  ending(settings: LimitSettings, reservedTokens: number): (tokens: number, nowMs: number) => void {
    const meter = this.#tokens
    const stamp = this.#stamp
    const limit = settings.tokensPerMinute ?? 0
    return (tokens, nowMs) => {
      this.#inFlight -= 1
      if (!meter || reservedTokens === 0) return
      meter.advance(limit, nowMs)
      meter.settle(limit, stamp, reservedTokens, chargeOf(tokens, reservedTokens, limit))
    }
  }

  /** As of the last `take`. */
  levels(settings: LimitSettings): Levels {
    const { requestsPerMinute, tokensPerMinute, concurrent } = settings
    return {
      ...(this.#requests && { requests: levelOf(this.#requests, requestsPerMinute!) }),
      ...(this.#tokens && { tokens: levelOf(this.#tokens, tokensPerMinute!) }),
      ...(concurrent !== undefined && { concurrent: { remaining: Math.max(0, concurrent - this.#inFlight) } }),
    }
  }

  #advance(settings: LimitSettings, nowMs: number): void {
    const { algorithm, requestsPerMinute, tokensPerMinute } = settings
    const isSame = algorithm === this.#algorithm
    this.#algorithm = algorithm
    this.#requests = advanced(isSame ? this.#requests : undefined, algorithm, requestsPerMinute, nowMs)
    this.#tokens = advanced(isSame ? this.#tokens : undefined, algorithm, tokensPerMinute, nowMs)
  }
}

function advanced(
  meter: Meter | undefined,
  algorithm: Algorithm,
  limit: number | undefined,
  nowMs: number,
): Meter | undefined {
  if (limit === undefined) return undefined
  if (!meter) return new METERS[algorithm](limit, nowMs)
  meter.advance(limit, nowMs)
  return meter
}

/** What takes nothing fits, whatever is owed. */
function wait(meter: Meter | undefined, limit: number | undefined, amount: number): number {
  if (!meter || limit === undefined || amount === 0) return 0
  return amount > limit ? Number.POSITIVE_INFINITY : meter.msUntil(limit, amount)
}

/** Of equals the first. */
function longest(requestsMs: number, tokensMs: number, concurrentMs: number): Denial | undefined {
  const retryAfterMs = Math.max(requestsMs, tokensMs, concurrentMs)
  if (retryAfterMs === 0) return undefined
  const over: LimitKind = requestsMs === retryAfterMs ? 'requests' : tokensMs === retryAfterMs ? 'tokens' : 'concurrent'
  return { over, retryAfterMs }
}

function levelOf(meter: Meter, limit: number): Level {
  return { remaining: meter.remaining(limit), resetMs: meter.resetMs(limit) }
}
