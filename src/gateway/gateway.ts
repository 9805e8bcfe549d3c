// The use case: price → admit (or wait) → send → judge → (again) → settle.

import { settledTokens } from '../domain/charge.ts'
import type { Clock } from '../domain/clock.ts'
import type { InputEstimate } from '../domain/estimate.ts'
import type { ModelSettings, PoolSettings } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Demand } from '../wire/demand.ts'
import { Attempt } from './attempt.ts'
import type { Answer, Ask, Decision, Finished, Handler, Invocation, Ledger, Upstream } from './ports.ts'
import { priceOf } from './price.ts'

export interface GatewayParts {
  ledger: Ledger
  upstream: Upstream
  clock: Clock
  /** By model name. */
  estimates: Map<string, InputEstimate>
  weightOf: (client: string) => number
  /** As the settings are now: one who waits may go to a pool that came with a reload. */
  poolOf: (model: string, pool: string) => PoolSettings | undefined
  /** Where calls go that name no model. */
  unmeteredPool: (invocation: Invocation) => PoolSettings
}

export class Gateway implements Handler {
  readonly #parts: GatewayParts

  constructor(parts: GatewayParts) {
    this.#parts = parts
  }

  async handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const run = newRun(invocation, this.#parts.clock.nowMs())
    if (invocation.model && invocation.demand)
      await this.#metered(invocation, invocation.model, invocation.demand, answer, run)
    else await this.#unmetered(invocation, answer, run)
    run.totalMs = Math.max(0, this.#parts.clock.nowMs() - run.startedMs)
    return run
  }

  async #metered(
    invocation: Invocation,
    model: ModelSettings,
    demand: Demand,
    answer: Answer,
    run: Run,
  ): Promise<void> {
    const { ledger, estimates } = this.#parts
    const estimate = estimates.get(model.name)!
    const ask: Ask = {
      ticketId: invocation.id,
      model: model.name,
      flow: invocation.flow,
      weight: this.#parts.weightOf(invocation.flow.client),
      tokens: priceOf(demand, model, estimate),
      deadlineMs: run.startedMs + invocation.maxWaitMs,
      ...(invocation.sdkInvocationId !== undefined && { sdkInvocationId: invocation.sdkInvocationId }),
      ...(invocation.refuseWhenShut && { refuseWhenShut: true }),
    }
    run.reservedTokens = ask.tokens
    // Usage unknown (abort, cut, no figure): the reservation stands as the charge.
    let chargedTokens = ask.tokens
    try {
      const attempt = await this.#untilAnswered(invocation, model, ask, answer, run)
      if (attempt === 'unsent') chargedTokens = 0
      if (!attempt || attempt === 'unsent') return
      if (attempt.usage) {
        chargedTokens = settledTokens(attempt.usage, model.outputBurndown)
        const { inputTokens, cacheReadTokens, cacheWriteTokens } = attempt.usage
        estimate.learn(demand.textBytes, demand.mediaTokens, inputTokens + cacheReadTokens + cacheWriteTokens)
      } else if (attempt.chargesNothing) {
        chargedTokens = 0
      }
      run.chargedTokens = chargedTokens
    } finally {
      ledger.settle(ask, chargedTokens)
    }
  }

  /** The send that was answered; nothing when the client was refused or left before one; or a turn that could not be used. */
  async #untilAnswered(
    invocation: Invocation,
    model: ModelSettings,
    ask: Ask,
    answer: Answer,
    run: Run,
  ): Promise<Attempt | 'unsent' | undefined> {
    const { ledger, clock } = this.#parts
    let decision = await ledger.acquire(ask, invocation.presence)
    let throttled: Attempt | undefined
    for (;;) {
      run.waitMs = Math.max(0, clock.nowMs() - run.startedMs - run.sendingMs)
      if (decision.kind !== 'granted') {
        conclude(decision, throttled, answer, run)
        return undefined
      }
      const { pool } = decision
      const settings = this.#parts.poolOf(model.name, pool)
      if (!settings) {
        refuse(unknownPool(pool), answer, run)
        return 'unsent'
      }
      const attempt = await this.#send(invocation, settings, answer, run)
      if (!attempt.isThrottled) return attempt
      run.throttledBy.push(pool)
      throttled = attempt
      decision = await ledger.requeue(ask, invocation.presence)
    }
  }

  async #unmetered(invocation: Invocation, answer: Answer, run: Run): Promise<void> {
    const pool = invocation.model?.pools[0] ?? this.#parts.unmeteredPool(invocation)
    const attempt = await this.#send(invocation, pool, answer, run)
    attempt.deliverThrottle(run)
  }

  async #send(invocation: Invocation, pool: PoolSettings, answer: Answer, run: Run): Promise<Attempt> {
    const { clock, upstream } = this.#parts
    run.attempts += 1
    run.pool = pool.name
    const sentMs = clock.nowMs()
    const attempt = new Attempt(answer, { pool: pool.name, waitMs: run.waitMs, attempts: run.attempts }, () => {
      run.firstByteMs = Math.max(0, clock.nowMs() - sentMs)
    })
    await attempt.over(invocation.presence, () => upstream.send(pool, invocation.request, attempt))
    run.sendingMs += Math.max(0, clock.nowMs() - sentMs)
    attempt.report(run)
    return attempt
  }
}

/** A Finished in the making. */
interface Run extends Finished {
  startedMs: number
  sendingMs: number
}

function newRun(invocation: Invocation, nowMs: number): Run {
  return {
    id: invocation.id,
    operation: invocation.request.operation.name,
    model: invocation.model?.name ?? 'none',
    pool: undefined,
    flow: invocation.flow,
    outcome: 'aborted',
    status: undefined,
    refusal: undefined,
    waitMs: 0,
    firstByteMs: undefined,
    totalMs: 0,
    attempts: 0,
    throttledBy: [],
    reservedTokens: 0,
    chargedTokens: 0,
    usage: undefined,
    exception: undefined,
    retries: 0,
    fallback: undefined,
    coalesced: false,
    startedMs: nowMs,
    sendingMs: 0,
  }
}

/** No turn came: the upstream's own throttle if there was one, else the ledger's refusal; nothing to one who left. */
function conclude(
  decision: Exclude<Decision, { kind: 'granted' }>,
  throttled: Attempt | undefined,
  answer: Answer,
  run: Run,
) {
  if (decision.kind === 'left') return
  if (throttled) {
    throttled.deliverThrottle(run, decision.refusal.retryAfterMs)
    return
  }
  refuse(decision.refusal, answer, run)
}

function refuse(refusal: Refusal, answer: Answer, run: Run): void {
  run.outcome = 'refused'
  run.refusal = refusal
  const { pool, waitMs, attempts } = run
  answer.refuse(refusal, pool === undefined ? undefined : { pool, waitMs, attempts })
}

/** Another replica was reloaded before this one. */
function unknownPool(pool: string): Refusal {
  const message = `The pool ${pool} is not in this gateway's configuration yet.`
  return { code: 'unknown-pool', message, retryAfterMs: 1_000 }
}
