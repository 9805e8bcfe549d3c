// Whether a call that failed is sent again, and the wait before it. A retry needs an attempt left, a backoff that ends before
// the request's deadline, a client that is still there when it ends, and a token of its model's budget.
import type { Clock, Dice } from '../domain/clock.ts'
import { backoffMs, RetryBudget, type RetrySettings } from '../domain/retryBudget.ts'
import { retryHintMs } from '../wire/retryHint.ts'
import type { Presence } from './presence.ts'

export interface RetryParts {
  /** As they are now. */
  settings: () => RetrySettings
  clock: Clock
  dice: Dice
  /** Told when only the budget stood in the way. */
  onRefused?: (model: string) => void
}

export interface Failure {
  model: string
  /** Of Bedrock's answer, if there was one: its hint is in them. */
  headers: string[]
  /** Calls sent so far, and how many of them were retries. */
  attempts: number
  retries: number
  deadlineMs: number
}

export class Retries {
  readonly #parts: RetryParts
  /** By model of the config: no request can add one. */
  readonly #budgets = new Map<string, RetryBudget>()

  constructor(parts: RetryParts) {
    this.#parts = parts
  }

  get maxAttempts(): number {
    return this.#parts.settings().maxAttempts
  }

  /** A request has come. */
  received(model: string): void {
    this.#budget(model).earn(this.#parts.settings())
  }

  /** Resolves when the backoff is over; false: the failure is final, or the client left. */
  async backoff(failure: Failure, presence: Presence): Promise<boolean> {
    const { clock, dice, onRefused } = this.#parts
    const settings = this.#parts.settings()
    const nowMs = clock.nowMs()
    if (presence.isGone || failure.attempts >= settings.maxAttempts) return false
    const waitMs = backoffMs(settings, failure.retries, retryHintMs(failure.headers, nowMs), dice)
    if (nowMs + waitMs >= failure.deadlineMs) return false
    if (!this.#budget(failure.model).spend(settings, nowMs)) {
      onRefused?.(failure.model)
      return false
    }
    return new Promise(resolve => {
      const cancel = clock.after(waitMs, () => {
        presence.watch(undefined)
        resolve(true)
      })
      presence.watch(() => {
        cancel()
        resolve(false)
      })
    })
  }

  #budget(model: string): RetryBudget {
    let budget = this.#budgets.get(model)
    if (!budget) {
      budget = new RetryBudget(this.#parts.settings(), this.#parts.clock.nowMs())
      this.#budgets.set(model, budget)
    }
    return budget
  }
}
