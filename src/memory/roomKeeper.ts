// One model's waiting room in this process: the engine of domain/, with promises and one timer around it.
import type { Clock } from '../domain/clock.ts'
import type { PoolQuota } from '../domain/pool.ts'
import { type AdmissionCode, admissionRefusal, type Busy, type Refusal } from '../domain/refusal.ts'
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
  #cancelWake: (() => void) | undefined

  constructor(settings: RoomSettings, clock: Clock) {
    this.room = new WaitingRoom(settings, clock.nowMs())
    this.#clock = clock
    this.#waiters = new Waiters(clock)
  }

  acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    if (presence.isGone) return Promise.resolve({ kind: 'left' })
    return this.#entered(ask, presence, this.room.acquire(ticketOf(ask, HERE), this.#clock.nowMs()))
  }

  requeue(ask: Ask, presence: Presence): Promise<Outcome> {
    const entry = this.room.requeue(ask.ticketId, this.#clock.nowMs())
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
    this.room.setPace(pool, believed, this.#clock.nowMs())
    this.#handOut()
  }

  drain(): void {
    this.room.drain(this.#clock.nowMs())
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
    if (entry.kind === 'refused')
      return Promise.resolve({ kind: 'refused', refusal: this.#refusal(entry.code, entry.busy, ask) })
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
    this.#waiters.decide(
      ask.ticketId,
      reason === 'gone' ? { kind: 'left' } : { kind: 'refused', refusal: this.#tooLate(ask) },
    )
    this.#handOut()
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
