// How long a call takes: the first token, then each of the others, all jittered.
import type { Call } from './call.ts'
import type { Latency } from './settings.ts'

export class Pace {
  readonly #latency: Latency
  readonly #call: Call

  constructor(latency: Latency, call: Call) {
    this.#latency = latency
    this.#call = call
  }

  /** To the first token. */
  firstMs(): number {
    return this.#jittered(this.#latency.firstTokenMs) + this.#call.fault.slowMs
  }

  /** For `tokens` more. */
  nextMs(tokens: number): number {
    return this.#jittered(this.#latency.perTokenMs * tokens)
  }

  /** Tokens there are `elapsedMs` after a first token at `firstMs`, jitter aside. */
  producedTokens(elapsedMs: number, firstMs: number): number {
    if (elapsedMs < firstMs) return 0
    const { perTokenMs } = this.#latency
    return perTokenMs === 0 ? Number.POSITIVE_INFINITY : 1 + Math.floor((elapsedMs - firstMs) / perTokenMs)
  }

  #jittered(waitMs: number): number {
    const { jitter } = this.#latency
    return jitter === 0 ? waitMs : waitMs * (1 + jitter * (2 * this.#call.timeDice() - 1))
  }
}
