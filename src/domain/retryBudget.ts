// How often, and after which wait, what failed at Bedrock is sent again. The wait has full jitter, so that those who failed
// together do not come back together (AWS: "Exponential backoff and jitter"). The budget keeps a failing Bedrock from being
// asked much more often than it is asked anyway: a retry costs one token, every request earns a part of one and time earns
// the rest, in a bucket with a bound (as Finagle's RetryBudget).
import type { Dice } from './clock.ts'

export interface RetrySettings {
  /** Calls sent for one request, throttled ones included. */
  maxAttempts: number
  baseMs: number
  longestMs: number
  /** Retries earned by each request, … */
  budgetShare: number
  /** … and by each second. */
  budgetPerS: number
}

/** What time may save up, and where it begins: a gateway that has just started, or had nothing to do, can still retry. */
const SAVED_S = 10
/** What requests may save up: a crowd that fails at once draws on the requests before it. */
const SAVED_REQUESTS = 1_000
/** An upstream's hint is kept, but for no longer than this beyond the backoff: as the AWS SDKs do. */
const LONGEST_HINT_MS = 5_000
/** Sums of fractions: what is missing by less is there. */
const TRIFLE = 1e-9

/**
 * Over any history: retries ≤ budgetShare × requests + budgetPerS × (seconds + 10). Over any part of one, what was saved up
 * before it comes on top: at most budgetShare × 1000 + budgetPerS × 10.
 */
export class RetryBudget {
  #level: number
  #asOfMs: number

  constructor({ budgetPerS }: RetrySettings, nowMs: number) {
    this.#level = budgetPerS * SAVED_S
    this.#asOfMs = nowMs
  }

  /** A request has come. */
  earn(settings: RetrySettings): void {
    this.#level = Math.min(mostSaved(settings), this.#level + settings.budgetShare)
  }

  /** Pays for one retry; false when there is nothing to pay it with. */
  spend(settings: RetrySettings, nowMs: number): boolean {
    const earned = (Math.max(0, nowMs - this.#asOfMs) / 1000) * settings.budgetPerS
    this.#asOfMs = nowMs
    this.#level = Math.min(mostSaved(settings), this.#level + earned)
    if (this.#level < 1 - TRIFLE) return false
    this.#level -= 1
    return true
  }
}

function mostSaved({ budgetShare, budgetPerS }: RetrySettings): number {
  return budgetShare * SAVED_REQUESTS + budgetPerS * SAVED_S
}

/** Milliseconds to wait before the retry after `retries` others. `hintMs`: when the upstream said to come back. */
export function backoffMs(settings: RetrySettings, retries: number, hintMs: number | undefined, dice: Dice): number {
  const jitteredMs = dice() * Math.min(settings.longestMs, settings.baseMs * 2 ** retries)
  return hintMs === undefined ? jitteredMs : Math.max(jitteredMs, Math.min(hintMs, jitteredMs + LONGEST_HINT_MS))
}
