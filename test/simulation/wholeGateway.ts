// Everything behind the front door in virtual time, put together as src/core.ts does it: book, shared calls, fallbacks, output
// caps, gateway, send stage, control loop and the real law, over the memory ledger. All of it is watched on the way: who holds
// which turn, what is sent without one, which gate is passed that is shut, whose timers are set.
import type { Clock, Dice } from '../../src/domain/clock.ts'
import { InputEstimate } from '../../src/domain/estimate.ts'
import type { ModelSettings } from '../../src/domain/model.ts'
import { SHUT } from '../../src/domain/pool.ts'
import type { PoolNews, Report, Steering } from '../../src/domain/poolReport.ts'
import type { RetrySettings } from '../../src/domain/retryBudget.ts'
import { type SteeringEvent, type SteeringSettings, standings, steer } from '../../src/domain/steering.ts'
import type { AnswerStore } from '../../src/gateway/answerPorts.ts'
import { Book } from '../../src/gateway/book.ts'
import { Coalescer } from '../../src/gateway/coalescer.ts'
import { ControlLoop } from '../../src/gateway/controlLoop.ts'
import { FallbackChain, type FellBack } from '../../src/gateway/fallbackChain.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { createLedger } from '../../src/gateway/ledger.ts'
import type { AdmissionSettings, Ask, Finished, Outcome, RoomLedger, Upstream } from '../../src/gateway/ports.ts'
import type { Presence } from '../../src/gateway/presence.ts'
import { QuotaUse } from '../../src/gateway/quotaUse.ts'
import { Kept } from '../../src/gateway/recording.ts'
import { RightSizer } from '../../src/gateway/rightSizer.ts'
import { MemoryAnswers } from '../../src/memory/answers.ts'
import { RoomKeeper } from '../../src/memory/roomKeeper.ts'
import { mockReply } from '../../src/simulator/mock.ts'
import { pushbackParts } from '../support/pushback.ts'
import type { VirtualClock } from '../support/virtualClock.ts'

/** How things are set at present. */
export interface Live {
  models: ModelSettings[]
  admission: AdmissionSettings
  breaker: SteeringSettings['breaker']
}

export interface WholeParts {
  time: VirtualClock
  dice: Dice
  live: Live
  retries: RetrySettings
  stages: { maxSendsPerPool: number; maxWaitingSends: number }
  upstream: (clock: Clock) => Upstream
  fault: (what: string) => void
}

/** The process's own clock, which somebody may set; timers keep their pace. Counts those that are set, by who set them. */
export class SteppedClock {
  aheadMs = 0
  readonly live = new Map<string, number>()
  readonly #time: VirtualClock

  constructor(time: VirtualClock) {
    this.#time = time
  }

  of(owner: string): Clock {
    const count = (more: number) => this.live.set(owner, (this.live.get(owner) ?? 0) + more)
    return {
      nowMs: () => this.#time.nowMs() + this.aheadMs,
      after: (delayMs, task) => {
        let isLive = true
        const over = () => {
          if (isLive) count(-1)
          isLive = false
        }
        count(1)
        const cancel = this.#time.after(delayMs, () => {
          over()
          task()
        })
        return () => {
          over()
          cancel()
        }
      },
    }
  }
}

export const STALE = { maxAnswerBytes: 8 * 1024, maxBytes: 32 * 1024, shared: false }
const LONGEST_LATE_MS = 5
const LONGEST_MOMENT_MS = 60

/** A room that is held to the ledger's promises. */
export class WatchedRoom implements RoomLedger {
  readonly keeper: RoomKeeper
  /** Turns that are held, with their pool; and asks that nobody has settled yet. */
  readonly turns = new Map<string, string>()
  readonly asks = new Set<string>()
  granted = 0
  ended = 0
  readonly #time: VirtualClock
  readonly #clock: SteppedClock
  readonly #fault: (what: string) => void
  /** When each shut gate was first seen to be shut. */
  readonly #shutMs = new Map<string, number>()
  /** What a gate that lets in so many has let in less than that. */
  readonly #probes = new Map<string, number>()

  constructor(keeper: RoomKeeper, time: VirtualClock, clock: SteppedClock, fault: (what: string) => void) {
    this.keeper = keeper
    this.#time = time
    this.#clock = clock
    this.#fault = fault
  }

  async acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    if (this.asks.has(ask.ticketId)) this.#fault(`${ask.ticketId} asks twice`)
    this.asks.add(ask.ticketId)
    return this.#decided(ask, presence, this.keeper.acquire(ask, presence))
  }

  async requeue(ask: Ask, presence: Presence, charged?: number): Promise<Outcome> {
    if (!this.turns.delete(ask.ticketId)) this.#fault(`${ask.ticketId} is requeued without a turn`)
    this.ended += 1
    return this.#decided(ask, presence, this.keeper.requeue(ask, presence, charged))
  }

  settle(ticketId: string, charged: number): boolean {
    if (!this.asks.delete(ticketId)) this.#fault(`${ticketId} is settled twice, or was never asked for`)
    if (!(charged >= 0 && Number.isFinite(charged))) this.#fault(`${ticketId} is charged ${charged}`)
    const held = this.turns.delete(ticketId)
    const settled = this.keeper.settle(ticketId, charged)
    if (held) this.ended += 1
    if (held !== settled) this.#fault(`${ticketId}: a turn was ${held ? '' : 'not '}held, the room settled ${settled}`)
    this.noteGates()
    return settled
  }

  configure(settings: Parameters<RoomKeeper['configure']>[0]): void {
    this.keeper.configure(settings)
    this.noteGates()
  }

  status() {
    return this.keeper.status()
  }

  async report(news: PoolNews[]): Promise<Report> {
    const report = await this.keeper.report(news)
    this.noteGates()
    return report
  }

  async steer(steering: Steering): Promise<void> {
    for (const { pool, gate } of steering.pools) {
      if (gate === undefined) continue
      if (gate !== SHUT) this.#shutMs.delete(pool)
      if (gate > SHUT) this.#probes.set(pool, gate)
      else this.#probes.delete(pool)
    }
    await this.keeper.steer(steering)
    this.noteGates()
  }

  noteGates(): void {
    for (const { name, gate } of this.keeper.room.pools) {
      if (gate !== SHUT) this.#shutMs.delete(name)
      else if (!this.#shutMs.has(name)) this.#shutMs.set(name, this.#time.nowMs())
    }
  }

  async #decided(ask: Ask, presence: Presence, deciding: Promise<Outcome>): Promise<Outcome> {
    const { aheadMs } = this.#clock
    const latestMs = Math.max(this.#time.nowMs() + aheadMs, ask.deadlineMs) + LONGEST_LATE_MS
    const outcome = await deciding
    const nowMs = this.#time.nowMs()
    if (outcome.kind === 'granted') {
      if (this.turns.has(ask.ticketId)) this.#fault(`${ask.ticketId} is granted twice`)
      this.turns.set(ask.ticketId, outcome.pool)
      this.granted += 1
      const probes = this.#probes.get(outcome.pool)
      if (probes !== undefined) this.#probes.set(outcome.pool, probes - 1)
      if (probes === 0) this.#fault(`${ask.ticketId} is granted ${outcome.pool} beyond its probes`)
      if ((this.#shutMs.get(outcome.pool) ?? nowMs) < nowMs)
        this.#fault(`${ask.ticketId} is granted ${outcome.pool}, which is shut`)
    }
    if (outcome.kind === 'left' && !presence.isGone) this.#fault(`${ask.ticketId} is told that it left`)
    // While the clock is set nobody can say how long that is.
    if (nowMs + aheadMs > latestMs && aheadMs === this.#clock.aheadMs)
      this.#fault(`${ask.ticketId} is ${outcome.kind} ${nowMs + aheadMs - ask.deadlineMs} ms after its deadline`)
    this.noteGates()
    return outcome
  }
}

export class WholeGateway {
  readonly clock: SteppedClock
  readonly rooms = new Map<string, WatchedRoom>()
  readonly estimates = new Map<string, InputEstimate>()
  readonly kept = new Kept()
  readonly book: Book
  readonly sends: ReturnType<typeof pushbackParts>['sends']
  readonly answers: MemoryAnswers
  /** Each line of the log, those of rescued calls last. */
  readonly finished: Finished[] = []
  readonly rescued: Finished[] = []
  readonly fellBack: FellBack[] = []
  readonly events: SteeringEvent[] = []
  readonly #parts: WholeParts
  readonly #ledger: ReturnType<typeof createLedger>
  readonly #control: ControlLoop

  constructor(parts: WholeParts) {
    this.#parts = parts
    const { time, live, dice, retries, stages, fault } = parts
    this.clock = new SteppedClock(time)
    this.answers = new MemoryAnswers({ maxAgeMs: 600_000, maxBytes: STALE.maxBytes }, this.clock.of('answers'))
    this.#ledger = createLedger({
      models: live.models,
      admission: live.admission,
      kind: 'memory',
      makeRoom: (model, settings) => {
        const keeper = new RoomKeeper(settings, this.clock.of('room'))
        const room = new WatchedRoom(keeper, time, this.clock, what => fault(`${model}: ${what}`))
        this.rooms.set(model, room)
        return room
      },
      troubleOf: () => undefined,
    })
    for (const { name, bytesPerToken } of live.models) this.estimates.set(name, new InputEstimate(bytesPerToken))
    const { sends, retries: again } = pushbackParts({
      clock: this.clock.of('backoff and stage'),
      dice,
      retries,
      stages,
    })
    this.sends = sends
    this.#control = this.#controlLoop()
    const gateway = new Gateway({
      retries: again,
      sends,
      control: this.#control,
      ledger: this.#ledger,
      upstream: parts.upstream(this.clock.of('reply')),
      clock: this.clock.of('gateway'),
      estimates: this.estimates,
      weightOf: client => (client === 'heavy' ? 3 : 1),
      poolOf: (model, pool) => this.#modelNamed(model)?.pools.find(one => one.name === pool),
      unmeteredPool: () => live.models[0]!.pools[0]!,
    })
    this.book = new Book(this.#around(gateway), { finished: run => void this.finished.push({ ...run }) })
  }

  /** A reload. */
  configure(live: Partial<Live>): void {
    Object.assign(this.#parts.live, live)
    const { models, admission } = this.#parts.live
    this.#ledger.configure(models, admission)
  }

  close(): void {
    this.#control.close()
  }

  #modelNamed(name: string): ModelSettings | undefined {
    return this.#parts.live.models.find(model => model.name === name)
  }

  #controlLoop(): ControlLoop {
    const { live, dice, fault } = this.#parts
    const settingsOf = (name: string): SteeringSettings => ({ ...this.#modelNamed(name)!, breaker: live.breaker })
    return new ControlLoop({
      board: this.#ledger,
      law: {
        steer: (model, state, reports, nowMs) => steer(state, reports, settingsOf(model), nowMs, dice),
        standings: (model, state, nowMs) => standings(state, settingsOf(model), nowMs),
      },
      clock: this.clock.of('control'),
      dice,
      soon: queueMicrotask,
      onEvents: (_model, events) => void this.events.push(...events),
      onTrouble: (model, reason) => fault(`the control loop of ${model}: ${reason}`),
    })
  }

  /** As a store elsewhere is: it takes a moment, in which its client may leave. */
  #distant(answers: AnswerStore): AnswerStore {
    const { time, dice } = this.#parts
    const moment = () => new Promise<void>(resolve => void time.after(dice() * LONGEST_MOMENT_MS, resolve))
    return {
      get: (model, key) => moment().then(() => answers.get(model, key)),
      put: (model, key, reply) => moment().then(() => answers.put(model, key, reply)),
    }
  }

  #around(gateway: Gateway): Coalescer {
    const { fault } = this.#parts
    const use = new QuotaUse(() => this.#ledger.status(), this.clock.of('quota use'))
    const rightSizer = new RightSizer({ handler: gateway, useOf: model => use.of(model), capped() {} })
    const clock = this.clock.of('fallback')
    const fallbacks = new FallbackChain({
      inner: rightSizer,
      clock,
      answers: this.#distant(this.answers),
      stale: STALE,
      mock: ({ id, request }, text) =>
        mockReply({ ...request, modelId: request.modelId ?? '', requestId: id, nowMs: clock.nowMs() }, text),
      modelNamed: name => this.#modelNamed(name),
      rescued: run => {
        if (run.outcome !== 'rescued') fault(`${run.id} is no rescued line`)
        this.rescued.push({ ...run })
      },
      fellBack: event => void this.fellBack.push(event),
    })
    return new Coalescer({ inner: fallbacks, clock: this.clock.of('shared calls') }, this.kept)
  }
}
