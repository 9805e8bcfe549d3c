// One quota of Bedrock in one Region: requests and tokens a minute. A call reserves at its start and is settled at its end
// (src/domain/charge.ts); one that does not fit is throttled and takes nothing.
import { reservedTokens, settledTokens, type Usage } from '../domain/charge.ts'
import type { SimulatedQuota, WindowKind } from './settings.ts'
import { newWindow, type Window } from './windows.ts'

export interface QuotaCounts {
  region: string
  /** The quota's globs; empty: the models without a quota. */
  modelIds: string[]
  /** Well-formed calls that came. */
  sends: number
  /** … that passed the quota. */
  accepted: number
  throttledByRequests: number
  throttledByTokens: number
  /** 5xx answers, and calls destroyed by an outage. */
  errors: number
  /** Answers broken off by the simulator: cut, or ended in an exception frame. */
  broken: number
  /** Callers that left before the end. */
  left: number
  /** Tokens charged to settled calls. */
  tokensCharged: number
}

export type Admission =
  | { kind: 'throttled'; by: 'requests' | 'tokens' }
  /** `settle` charges the call; only its first call counts. */
  | { kind: 'admitted'; settle: (usage: Usage) => void }

const NOTHING_SPENT = {
  sends: 0,
  accepted: 0,
  throttledByRequests: 0,
  throttledByTokens: 0,
  errors: 0,
  broken: 0,
  left: 0,
  tokensCharged: 0,
}
/** A bucket's drain is a sum of fractions: a whole request must not be refused for the last bit of one. */
const ROUNDING = 1e-6

export class QuotaState {
  readonly region: string
  /** Undefined: unlimited. Replaced when the quota's numbers change while it runs. */
  quota: SimulatedQuota | undefined
  counts: QuotaCounts
  #requests: Window
  #tokens: Window

  constructor(region: string, quota: SimulatedQuota | undefined, window: WindowKind) {
    this.region = region
    this.quota = quota
    this.counts = this.#noCounts()
    this.#requests = newWindow(window)
    this.#tokens = newWindow(window)
  }

  admit(nowMs: number, inputTokens: number, maxOutputTokens: number): Admission {
    const tokens = reservedTokens(inputTokens, maxOutputTokens)
    const { requestsPerMinute, tokensPerMinute, outputBurndown = 1 } = this.quota ?? {}
    if (!fits(this.#requests, nowMs, 1, requestsPerMinute)) {
      this.counts.throttledByRequests += 1
      return { kind: 'throttled', by: 'requests' }
    }
    if (!fits(this.#tokens, nowMs, tokens, tokensPerMinute)) {
      this.counts.throttledByTokens += 1
      return { kind: 'throttled', by: 'tokens' }
    }
    this.counts.accepted += 1
    if (requestsPerMinute !== undefined) this.#requests.take(nowMs, 1)
    const correct = tokensPerMinute === undefined ? undefined : this.#tokens.take(nowMs, tokens)
    let settled = false
    return {
      kind: 'admitted',
      settle: usage => {
        if (settled) return
        settled = true
        const charge = settledTokens(usage, outputBurndown)
        this.counts.tokensCharged += charge
        correct?.(charge)
      },
    }
  }

  /** Starts over empty. Calls under way settle into the window they reserved from, which nobody asks any more. */
  useWindow(window: WindowKind): void {
    this.#requests = newWindow(window)
    this.#tokens = newWindow(window)
  }

  resetCounts(): void {
    this.counts = this.#noCounts()
  }

  #noCounts(): QuotaCounts {
    return { region: this.region, modelIds: this.quota?.modelIds ?? [], ...NOTHING_SPENT }
  }
}

function fits(window: Window, nowMs: number, units: number, perMinute: number | undefined): boolean {
  return perMinute === undefined || window.used(nowMs, perMinute) + units <= perMinute + ROUNDING
}
