// The use case: price → admit (or wait) → send → judge → (again) → settle.

import { settledTokens } from '../domain/charge.ts'
import type { Clock } from '../domain/clock.ts'
import type { InputEstimate } from '../domain/estimate.ts'
import type { ModelSettings, PoolSettings } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import { MAX_REQUEUES } from '../domain/waitingRoom.ts'
import type { Demand } from '../wire/demand.ts'
import { Attempt } from './attempt.ts'
import type { ControlLoop, ModelLoop } from './controlLoop.ts'
import type { Answer, Ask, Decision, Finished, Handler, Invocation, Ledger, Upstream } from './ports.ts'
import { priceOf } from './price.ts'
import type { Retries } from './retries.ts'
import { newRun, type Run } from './run.ts'
import type { Entrance, SendStage } from './sendStage.ts'
import type { Unattended } from './unattended.ts'

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
  retries: Retries
  sends: SendStage
  /** Absent: nobody learns from what becomes of the calls. */
  control?: ControlLoop
  /** Metered calls may run on when their client has left; absent: none do. */
  unattended?: Unattended
  /** A call that failed is sent again now. */
  onRetry?: (retry: Retry) => void
}

/** The failed call: where it went, what was reserved for it and what it may have cost. */
export interface Retry {
  model: string
  pool: string
  client: string
  reservedTokens: number
  chargedTokens: number
}

/** One invocation on its way, and what goes with it all the way. */
interface Errand {
  invocation: Invocation
  answer: Answer
  run: Run
  deadlineMs: number
  loop: ModelLoop | undefined
}

export class Gateway implements Handler {
  readonly #parts: GatewayParts

  constructor(parts: GatewayParts) {
    this.#parts = parts
  }

  async handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const { clock, retries, control } = this.#parts
    const run = newRun(invocation, clock.nowMs())
    const { model, demand } = invocation
    retries.received(run.model)
    invocation.trace?.waits(run.startedMs)
    const deadlineMs = run.startedMs + invocation.maxWaitMs
    if (model && demand) {
      const loop = control?.of(model.name)
      loop?.enter()
      try {
        await this.#metered({ invocation, answer, run, deadlineMs, loop }, model, demand)
      } finally {
        loop?.leave()
      }
    } else await this.#unmetered({ invocation, answer, run, deadlineMs, loop: undefined })
    run.totalMs = Math.max(0, clock.nowMs() - run.startedMs)
    return run
  }

  async #metered(errand: Errand, model: ModelSettings, demand: Demand): Promise<void> {
    const { invocation, run, deadlineMs } = errand
    const { ledger, estimates } = this.#parts
    const estimate = estimates.get(model.name)!
    const ask: Ask = {
      ticketId: invocation.id,
      model: model.name,
      flow: invocation.flow,
      weight: this.#parts.weightOf(invocation.flow.client),
      tokens: priceOf(demand, model, estimate),
      deadlineMs,
      ...(invocation.sdkInvocationId !== undefined && { sdkInvocationId: invocation.sdkInvocationId }),
      ...(invocation.refuseWhenShut && { refuseWhenShut: true }),
    }
    run.reservedTokens = ask.tokens
    // Usage unknown (abort, cut, no figure): the reservation stands as the charge.
    let chargedTokens = ask.tokens
    try {
      const attempt = await this.#untilAnswered(errand, model, ask)
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
      run.signal?.settled(chargedTokens)
    } finally {
      ledger.settle(ask, chargedTokens)
    }
  }

  /**
   * The send that was answered, or was the last; nothing when the client was refused or left while no turn was its own; or
   * a turn that was not used.
   */
  async #untilAnswered(errand: Errand, model: ModelSettings, ask: Ask): Promise<Attempt | 'unsent' | undefined> {
    const { ledger, clock, retries } = this.#parts
    const { run, invocation } = errand
    let decision = await ledger.acquire(ask, invocation.presence)
    let held: Attempt | undefined
    for (;;) {
      run.waitMs = Math.max(0, clock.nowMs() - run.startedMs - run.sendingMs)
      if (decision.kind !== 'granted') {
        conclude(decision, held, errand)
        return undefined
      }
      invocation.granted?.()
      const { pool } = decision
      const settings = this.#parts.poolOf(model.name, pool)
      const attempt = settings
        ? await this.#sendOnce(errand, settings, held)
        : { kind: 'refused' as const, refusal: unknownPool(pool) }
      if (!(attempt instanceof Attempt)) {
        errand.loop?.signals.unused(pool)
        conclude(attempt, held, errand)
        return 'unsent'
      }
      if (attempt.isThrottled) {
        run.throttledBy.push(pool)
        // After so many the ledger says no by itself, and when to come back.
        if (run.attempts >= retries.maxAttempts && run.attempts <= MAX_REQUEUES) {
          if (!invocation.presence.isGone) attempt.deliver(run)
          return undefined
        }
        invocation.trace?.waits(run.startedMs)
        decision = await ledger.requeue(ask, invocation.presence)
      } else if (await this.#isToRepeat(attempt, errand)) {
        run.chargedTokens = attempt.chargesNothing ? 0 : ask.tokens
        run.signal?.settled(run.chargedTokens)
        decision = await ledger.requeue(ask, invocation.presence, run.chargedTokens)
      } else {
        if (!invocation.presence.isGone) attempt.deliver(run)
        return attempt
      }
      held = attempt
    }
  }

  /** No quota holds it, so it need not wait for its turn; all else is the same. */
  async #unmetered(errand: Errand): Promise<void> {
    const { invocation, run } = errand
    const pool = invocation.model?.pools[0] ?? this.#parts.unmeteredPool(invocation)
    let held: Attempt | undefined
    for (;;) {
      const attempt = await this.#sendOnce(errand, pool, held)
      if (!(attempt instanceof Attempt)) {
        conclude(attempt, held, errand)
        return
      }
      if (!(await this.#isToRepeat(attempt, errand))) {
        if (!invocation.presence.isGone) attempt.deliver(run)
        return
      }
      held = attempt
    }
  }

  /** After the backoff, if there is one more try in it. */
  async #isToRepeat(attempt: Attempt, { invocation, run, deadlineMs }: Errand): Promise<boolean> {
    if (!attempt.isRepeatable) return false
    // A job that may have begun would begin twice.
    if (attempt.isDoubtful && invocation.request.operation.name === 'StartAsyncInvoke') return false
    const { model, attempts, retries } = run
    const failure = { model, headers: attempt.heldHeaders, attempts, retries, deadlineMs }
    const mayRepeat = await this.#parts.retries.backoff(failure, invocation.presence)
    if (mayRepeat) invocation.trace?.waits(run.startedMs)
    return mayRepeat
  }

  /** Through the send stage, and out of it however the call ends. */
  async #sendOnce(
    errand: Errand,
    pool: PoolSettings,
    before: Attempt | undefined,
  ): Promise<Attempt | Exclude<Entrance, { kind: 'entered' }>> {
    const { invocation, run, deadlineMs } = errand
    const lane = this.#parts.sends.lane(run.model, pool.name)
    const entering = lane.enter(invocation.flow.priority, deadlineMs, invocation.presence)
    const entrance = 'then' in entering ? await entering : entering
    if (entrance.kind !== 'entered') return entrance
    try {
      if (before?.isRepeatable) this.#countRetry(run)
      return await this.#send(errand, pool)
    } finally {
      lane.leave()
    }
  }

  #countRetry(run: Run): void {
    const { model, pool, flow, reservedTokens, chargedTokens } = run
    run.retries += 1
    run.chargedTokens = 0
    this.#parts.onRetry?.({ model, pool: pool ?? 'none', client: flow.client, reservedTokens, chargedTokens })
  }

  async #send({ invocation, answer, run, loop }: Errand, pool: PoolSettings): Promise<Attempt> {
    const { clock, upstream, unattended } = this.#parts
    const sentMs = clock.nowMs()
    run.waitMs = Math.max(0, sentMs - run.startedMs - run.sendingMs)
    run.attempts += 1
    run.pool = pool.name
    run.firstByteMs = undefined
    run.signal = loop?.signals.sent(pool.name, run.reservedTokens)
    const notes = { pool: pool.name, waitMs: run.waitMs, attempts: run.attempts }
    const onFirstByte = () => {
      run.firstByteMs = Math.max(0, clock.nowMs() - sentMs)
    }
    const attempt = new Attempt(answer, notes, onFirstByte, run.signal, invocation.demand && unattended)
    const trace = invocation.trace?.sends(pool, run.attempts, sentMs, invocation.request)
    const request = trace ? { ...invocation.request, headers: trace.headers } : invocation.request
    await attempt.over(invocation.presence, () => upstream.send(pool, request, attempt))
    run.sendingMs += Math.max(0, clock.nowMs() - sentMs)
    attempt.report(run)
    trace?.ended({ ...attempt.ending, firstByteMs: run.firstByteMs })
    return attempt
  }
}

/** No turn, or none that could be used: what Bedrock said before if it said anything, else the refusal; nothing to one who left. */
function conclude(
  decision: Exclude<Decision | Entrance, { kind: 'granted' } | { kind: 'entered' }>,
  held: Attempt | undefined,
  { answer, run }: Errand,
): void {
  if (decision.kind === 'left') return
  const { refusal } = decision
  if (held) {
    held.deliver(run, refusal.retryAfterMs)
    return
  }
  run.outcome = 'refused'
  run.refusal = refusal
  answer.refuse(refusal)
}

/** Another replica was reloaded before this one. */
function unknownPool(pool: string): Refusal {
  const message = `The pool ${pool} is not in this gateway's configuration yet.`
  return { code: 'unknown-pool', message, retryAfterMs: 1_000 }
}
