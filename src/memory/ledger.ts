// The ledger of one process: the waiting rooms of domain/, with promises and timers around them.
import type { Clock } from '../domain/clock.ts'
import type { ModelSettings } from '../domain/model.ts'
import type { Pool } from '../domain/pool.ts'
import type { Refusal } from '../domain/refusal.ts'
import { WaitingRoom } from '../domain/waitingRoom.ts'
import type { Ask, Decision, Ledger, LevelStatus, ModelStatus } from '../gateway/ports.ts'
import type { Presence } from '../gateway/presence.ts'

export interface AdmissionSettings {
  burst: number
  maxWaiting: number
}

interface Waiter {
  decide(decision: Decision): void
}

/** Timers fire up to a millisecond early; asking a little later spares a second look. */
const TIMER_SLACK_MS = 1

export function createMemoryLedger(models: ModelSettings[], admission: AdmissionSettings, clock: Clock): Ledger {
  const rooms = new Map(models.map(model => [model.name, new RoomKeeper(model, admission, clock)]))
  const room = (name: string): RoomKeeper => {
    const found = rooms.get(name)
    if (!found) throw new Error(`the ledger has no model ${name}`)
    return found
  }
  return {
    acquire: (ask, presence) => room(ask.model).acquire(ask, presence),
    requeue: (ask, presence) => room(ask.model).requeue(ask, presence),
    settle: (ask, chargedTokens) => room(ask.model).settle(ask, chargedTokens),
    status: () => [...rooms.values()].map(keeper => keeper.status()),
  }
}

class RoomKeeper {
  readonly #model: string
  readonly #room: WaitingRoom
  readonly #clock: Clock
  readonly #waiters = new Map<string, Waiter>()
  #cancelWake: (() => void) | undefined

  constructor(model: ModelSettings, admission: AdmissionSettings, clock: Clock) {
    const settings = { pools: model.pools, burstShare: admission.burst, maxWaiting: admission.maxWaiting }
    this.#model = model.name
    this.#room = new WaitingRoom(settings, clock.nowMs())
    this.#clock = clock
  }

  acquire(ask: Ask, presence: Presence): Promise<Decision> {
    if (presence.isGone) return Promise.resolve({ kind: 'left' })
    const ticket = { id: ask.ticketId, tokens: ask.tokens, deadlineMs: ask.deadlineMs }
    const entry = this.#room.enter(ticket, this.#clock.nowMs())
    if (entry.kind === 'granted') return Promise.resolve({ kind: 'granted', pool: entry.grant.pool })
    if (entry.kind === 'refused') return Promise.resolve(entry)
    return this.#wait(ask, presence)
  }

  requeue(ask: Ask, presence: Presence): Promise<Decision> {
    const returned = this.#room.requeue(ask.ticketId, this.#clock.nowMs())
    if (!returned) return Promise.resolve({ kind: 'refused', refusal: this.#waitTimeout(ask) })
    return this.#wait(ask, presence)
  }

  settle(ask: Ask, chargedTokens: number): void {
    if (this.#room.settle(ask.ticketId, chargedTokens, this.#clock.nowMs())) this.#pump()
  }

  status(): ModelStatus {
    const nowMs = this.#clock.nowMs()
    return {
      model: this.#model,
      waiting: this.#room.waitingCount,
      waitingTokens: this.#room.waitingTokens,
      inFlight: this.#room.reservedCount,
      backlogMs: Math.round(this.#room.backlog(0, nowMs).waitMs),
      pools: this.#room.pools.map(pool => poolStatus(pool, nowMs)),
    }
  }

  #wait(ask: Ask, presence: Presence): Promise<Decision> {
    return new Promise(resolve => {
      // Out of the line before the refusal is made: the ticket itself is no part of the backlog it is told.
      const leave = (decision: () => Decision) => {
        if (!this.#room.leave(ask.ticketId)) return
        this.#decide(ask.ticketId, decision())
        this.#pump()
      }
      const onGone = () => leave(() => ({ kind: 'left' }))
      const cancelDeadline = this.#clock.after(ask.deadlineMs - this.#clock.nowMs(), () =>
        leave(() => ({ kind: 'refused', refusal: this.#waitTimeout(ask) })),
      )
      this.#waiters.set(ask.ticketId, {
        decide(decision) {
          cancelDeadline()
          presence.watch(undefined)
          resolve(decision)
        },
      })
      if (presence.isGone) onGone()
      else presence.watch(onGone)
      this.#pump()
    })
  }

  /** Hands out what may go now and wakes up when the next may. One timer a model, however many wait. */
  #pump(): void {
    for (const grant of this.#room.pump(this.#clock.nowMs())) {
      this.#decide(grant.ticketId, { kind: 'granted', pool: grant.pool })
    }
    this.#cancelWake?.()
    this.#cancelWake = undefined
    const waitMs = this.#room.msUntilNextGrant(this.#clock.nowMs())
    if (waitMs === undefined || !Number.isFinite(waitMs)) return
    this.#cancelWake = this.#clock.after(Math.ceil(waitMs) + TIMER_SLACK_MS, () => this.#pump())
  }

  #decide(ticketId: string, decision: Decision): void {
    const waiter = this.#waiters.get(ticketId)
    this.#waiters.delete(ticketId)
    waiter?.decide(decision)
  }

  #waitTimeout(ask: Ask): Refusal {
    return this.#room.tooBusy('wait-timeout', ask.tokens, this.#clock.nowMs())
  }
}

function poolStatus(pool: Pool, nowMs: number): ModelStatus['pools'][number] {
  pool.refill(nowMs)
  const level = (bucket: Pool['tokens']): LevelStatus | undefined =>
    bucket && {
      quotaPerMinute: bucket.shape.quotaPerMinute,
      burst: bucket.shape.burst,
      level: Math.floor(bucket.state.level),
    }
  const requests = level(pool.requests)
  const tokens = level(pool.tokens)
  return { pool: pool.name, ...(requests && { requests }), ...(tokens && { tokens }) }
}
