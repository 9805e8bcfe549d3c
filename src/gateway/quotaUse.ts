// How much of a model's quota is in use, of all gateways together, as the ledger tells it: asked at most once a second, and
// only while somebody wants to know. What was served is counted by reservations; the part of them that is really charged
// makes it use. Where requests bind, use is told too low: there a smaller cap would help nobody.
import type { Clock } from '../domain/clock.ts'
import type { ModelStatus } from './ports.ts'

const FRESH_MS = 1_000
/** An older figure is of another time: nothing is known. */
const STALE_MS = 10_000

export class QuotaUse {
  readonly #ask: () => Promise<ModelStatus[]>
  readonly #clock: Clock
  #uses = new Map<string, number>()
  #askedMs = Number.NEGATIVE_INFINITY
  #toldMs = Number.NEGATIVE_INFINITY

  constructor(ask: () => Promise<ModelStatus[]>, clock: Clock) {
    this.#ask = ask
    this.#clock = clock
  }

  /** 0 to 1, or above while a debt is run up; 0 while nothing is known. */
  of(model: string): number {
    const nowMs = this.#clock.nowMs()
    if (Math.abs(nowMs - this.#askedMs) >= FRESH_MS) {
      this.#askedMs = nowMs
      // A ledger that cannot say leaves the last figure, until it is stale.
      this.#ask().then(
        models => this.#take(models),
        () => {},
      )
    }
    return Math.abs(nowMs - this.#toldMs) < STALE_MS ? (this.#uses.get(model) ?? 0) : 0
  }

  #take(models: ModelStatus[]): void {
    this.#toldMs = this.#clock.nowMs()
    this.#uses = new Map(models.map(status => [status.model, useOf(status)]))
  }
}

function useOf({ classes, settled }: ModelStatus): number {
  const servedPerS = classes.reduce((sum, one) => sum + one.servedPerS, 0)
  return settled.reservedTokens > 0 ? (servedPerS * settled.chargedTokens) / settled.reservedTokens : servedPerS
}
