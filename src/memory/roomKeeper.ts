// One model's waiting room in this process: the engine of domain/, with promises and one timer around it.

import { Board } from '../domain/board.ts'
import type { Clock } from '../domain/clock.ts'
import { allShut, OPEN_TO_ALL, type PoolQuota } from '../domain/pool.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import { type AdmissionCode, admissionRefusal, type Busy, type Refusal, WHEN_SHUT } from '../domain/refusal.ts'
import type { Entry, RoomSettings } from '../domain/room.ts'
import { type RoomStatus, roomStatus } from '../domain/roomStatus.ts'
import { WaitingRoom } from '../domain/waitingRoom.ts'
import type { Ask, Outcome, StandIn } from '../gateway/ports.ts'
import type { Presence } from '../gateway/presence.ts'
import { type Reason, ticketOf, Waiters } from '../gateway/waiters.ts'

/** Timers fire up to a millisecond early; asking a little later spares a second look. */
const TIMER_SLACK_MS = 1
/** Flows, and clients of a class, that /status shows. */
const MOST_SHOWN = 20
/** One process is its own only gateway. */
const HERE = 'here'

export class RoomKeeper implements StandIn {
  readonly room: WaitingRoom
  readonly #clock: Clock
  readonly #waiters: Waiters
  #board: Board
  #cancelWake: (() => void) | undefined

  constructor(settings: RoomSettings, clock: Clock) {
    this.room = new WaitingRoom(settings, clock.nowMs())
    this.#board = new Board(this.room)
    this.#clock = clock
    this.#waiters = new Waiters(clock)
  }

  acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    if (presence.isGone) return Promise.resolve({ kind: 'left' })
    if (this.#isShutTo(ask)) return this.#refused('no-pool-open', WHEN_SHUT, ask)
    return this.#entered(ask, presence, this.room.acquire(ticketOf(ask, HERE), this.#clock.nowMs()))
  }

  requeue(ask: Ask, presence: Presence, chargedTokens?: number): Promise<Outcome> {
    if (this.#isShutTo(ask)) {
      this.settle(ask.ticketId, chargedTokens ?? ask.tokens)
      return this.#refused('no-pool-open', WHEN_SHUT, ask)
    }
    const entry = this.room.requeue(ask.ticketId, chargedTokens, this.#clock.nowMs())
    if (!entry) return this.acquire(ask, presence)
    return this.#entered(ask, presence, entry)
  }

  settle(ticketId: string, chargedTokens: number): boolean {
    const settled = this.room.settle(ticketId, chargedTokens, this.#clock.nowMs())
    if (settled) this.#handOut()
    return settled
  }

  configure(settings: RoomSettings): void {
    this.room.configure(settings, this.#clock.nowMs())
    this.#handOut()
  }

  setPace(pool: string, believed: PoolQuota): void {
    this.room.adjust([{ pool, believed }], this.#clock.nowMs())
    this.#handOut()
  }

  drain(): void {
    const nowMs = this.#clock.nowMs()
    this.room.drain(nowMs)
    this.#board = new Board(this.room)
    this.room.adjust(
      this.room.pools.map(({ name }) => ({ pool: name, gate: OPEN_TO_ALL })),
      nowMs,
    )
    this.#handOut()
  }

  report(news: PoolNews[]): Promise<Report> {
    const report = this.#board.report(HERE, news, this.#clock.nowMs())
    this.#withdrawShut()
    return Promise.resolve(report)
  }

  async steer(steering: Steering): Promise<void> {
    this.#board.steer(HERE, steering, this.#clock.nowMs())
    this.#withdrawShut()
  }

  get waiting(): number {
    return this.#waiters.size
  }

  status(): Promise<RoomStatus> {
    return Promise.resolve(roomStatus(this.room.snapshot(MOST_SHOWN, this.#clock.nowMs())))
  }

  /** Everybody who waits goes to ask elsewhere. */
  moveAll(): void {
    for (const ask of this.#waiters.asks()) this.room.cancel(ask.ticketId, this.#clock.nowMs())
    // Their going may have been others' turn.
    this.#decideGranted()
    this.#waiters.moveAll()
    this.#cancelWake?.()
  }

  #entered(ask: Ask, presence: Presence, entry: Entry): Promise<Outcome> {
    if (entry.kind === 'refused') return this.#refused(entry.code, entry.busy, ask)
    if (entry.kind === 'granted') {
      this.#handOut()
      return Promise.resolve(entry)
    }
    const decision = this.#waiters.wait(ask, presence, reason => this.#withdraw(ask, reason))
    this.#handOut()
    return decision
  }

  /** Out of the line before the refusal is made: the ticket itself is no part of the wait it is told. */
  #withdraw(ask: Ask, reason: Reason): void {
    this.room.cancel(ask.ticketId, this.#clock.nowMs())
    if (reason === 'gone') this.#waiters.decide(ask.ticketId, { kind: 'left' })
    else {
      const refusal = reason === 'late' ? this.#tooLate(ask) : this.#refusal('no-pool-open', WHEN_SHUT, ask)
      this.#waiters.decide(ask.ticketId, { kind: 'refused', refusal })
    }
    this.#handOut()
  }

  #isShutTo(ask: Ask): boolean {
    return ask.refuseWhenShut === true && allShut(this.room.pools, ask.tokens)
  }

  #withdrawShut(): void {
    // First those whose turn has come.
    this.#handOut()
    this.#waiters.withdrawShut(ask => this.#isShutTo(ask))
  }

  #refused(code: AdmissionCode, busy: Busy, ask: Ask): Promise<Outcome> {
    return Promise.resolve({ kind: 'refused', refusal: this.#refusal(code, busy, ask) })
  }

  #tooLate(ask: Ask): Refusal {
    return this.#refusal('wait-timeout', this.room.busy(ticketOf(ask, HERE), this.#clock.nowMs()), ask)
  }

  #refusal(code: AdmissionCode, busy: Busy, ask: Ask): Refusal {
    return admissionRefusal(code, busy, ask.tokens, this.room.mostTokens)
  }

  /** Tells who may go, and wakes up when the next may. One timer a model, however many wait. */
  #handOut(): void {
    this.#decideGranted()
    this.#cancelWake?.()
    this.#cancelWake = undefined
    const { napMs } = this.room
    if (napMs === undefined) return
    this.#cancelWake = this.#clock.after(Math.ceil(napMs) + TIMER_SLACK_MS, () => {
      this.room.tick(HERE, this.#clock.nowMs())
      this.#handOut()
    })
  }

  #decideGranted(): void {
    for (const { ticketId, pool } of this.room.takeGrants()) this.#waiters.decide(ticketId, { kind: 'granted', pool })
  }
}
