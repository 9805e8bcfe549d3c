// The waiting room of one model: its pools, who waits, who holds a reservation. A pure state machine; each verb brings it up
// to `nowMs` first and hands out every turn that is due. Its twin in Redis (redis/scripts) does the same, digit for digit.
import { Attendance, CLOCK_STEP_MS } from './attendance.ts'
import { earnFloors, headroom } from './classes.ts'
import { isLarge, type Supply } from './cost.ts'
import { Departed } from './departed.ts'
import { FairQueue } from './fairQueue.ts'
import { PRIORITIES } from './model.ts'
import type { Pool } from './pool.ts'
import { PoolBank } from './poolBank.ts'
import { busy, expectation, isFree, mayNotWait } from './prospects.ts'
import type { AdmissionCode, Busy } from './refusal.ts'
import type { Entry, PoolChange, Room, RoomSettings } from './room.ts'
import { type RoomSnapshot, roomSnapshot } from './roomSnapshot.ts'
import { type MeterState, newMeter, roll } from './serviceMeter.ts'
import { lapsedReservations } from './sweep.ts'
import { type Grant, newTicket, type Reservation, type Ticket, type TicketAsk } from './ticket.ts'
import { bestFit, nextTurn } from './turns.ts'

/** A ticket the upstream throttled this often is given back to its sender. */
export const MAX_REQUEUES = 3
/** At most so many turns a call: a script must not hold Redis for long. */
const MOST_GRANTS = 32
/** Somebody looks again at least this often while anybody waits. */
const LONGEST_NAP_MS = 1_000

export class WaitingRoom implements Room {
  readonly queues: FairQueue[]
  /** Floor credit by class, seconds of quota. */
  readonly credit = [0, 0, 0]
  readonly askedMs = PRIORITIES.map(() => Number.NEGATIVE_INFINITY)
  readonly meter: MeterState
  readonly #bank: PoolBank
  settings: RoomSettings
  #asOfMs: number
  #entered = 0
  readonly #waiting = new Map<string, Ticket>()
  readonly #reservations = new Map<string, Reservation>()
  readonly #attendance = new Attendance()
  readonly departed = new Departed()
  #grants: Grant[] = []
  #wakeAtMs: number | undefined

  constructor(settings: RoomSettings, nowMs: number) {
    this.settings = settings
    this.#asOfMs = nowMs
    this.#bank = new PoolBank(settings, nowMs)
    this.queues = PRIORITIES.map(() => new FairQueue(this.supply))
    this.meter = newMeter(nowMs)
  }

  get pools(): Pool[] {
    return this.#bank.pools
  }

  get supply(): Supply {
    return this.#bank.supply
  }

  get epoch(): number {
    return this.#bank.epoch
  }

  /** The largest request that any pool could ever serve. */
  get mostTokens(): number {
    return this.#bank.mostTokens
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  get reservedCount(): number {
    return this.#reservations.size
  }

  /** How long until somebody should `tick`; undefined when nobody waits. Holds after any verb. */
  get napMs(): number | undefined {
    if (this.#wakeAtMs === undefined) return undefined
    // A verb that hands out nothing must not put off those who wait.
    return Math.min(Math.max(0, this.#wakeAtMs - this.#asOfMs), LONGEST_NAP_MS)
  }

  /** The turns handed out since the last call. */
  takeGrants(): Grant[] {
    const grants = this.#grants
    if (grants.length > 0) this.#grants = []
    return grants
  }

  /** A turn at once, a place in the line, or neither. Asking again for the same ticket tells where it stands. */
  acquire(ask: TicketAsk, nowMs: number): Entry {
    const now = this.hear(ask.gateway, nowMs)
    this.askedMs[ask.rank] = now
    const known = this.#standing(ask, now)
    if (known) return known
    if (!this.pools.some(pool => pool.canEverHold(ask.tokens))) return this.#refuse('cannot-fit', ask, now)
    const ticket = newTicket({ ...ask, deadlineMs: this.#attendance.lived(ask.deadlineMs) }, this.#entered++)
    if (isFree(this, ask.rank) && !isLarge(this.supply, ask.tokens)) {
      const open = this.pools.filter(pool => pool.isOpen && pool.canEverHold(ask.tokens))
      const pool = bestFit(open, ask.tokens, headroom(this.askedMs, ask.rank, now), now)
      if (pool) {
        pool.take(ask.tokens)
        this.#reserve(ticket, pool, this.queues[ask.rank]!.serveAtOnce(ticket, now), now)
        return { kind: 'granted', pool: pool.name }
      }
    }
    const code = mayNotWait(this, this.settings, ask, now)
    if (code) return this.#refuse(code, ask, now)
    const { p50Ms } = expectation(this, ask, now)
    const before = ask.invocation === undefined ? undefined : this.departed.take(ask, now)
    if (before) ticket.key = before.key
    this.#waiting.set(ticket.id, ticket)
    this.queues[ask.rank]!.join(ticket, now, before)
    this.#pump(now)
    return this.#granted(ask.id) ?? { kind: 'waiting', etaMs: p50Ms }
  }

  /** Ends a reservation with what was really charged. Exactly once: of one that is unknown, or has ended, false. */
  settle(ticketId: string, chargedTokens: number, nowMs: number): boolean {
    const now = this.#advance(nowMs)
    const reservation = this.#reservations.get(ticketId)
    if (!reservation) return false
    this.#reservations.delete(ticketId)
    const { ticket } = reservation
    this.#bank.named(reservation.pool)?.giveBack(ticket.tokens - chargedTokens)
    this.queues[ticket.rank]!.settle(reservation, chargedTokens)
    this.meter.reserved += ticket.tokens
    this.meter.charged += chargedTokens
    this.#pump(now)
    return true
  }

  /**
   * The upstream threw it back: to the head of its user's line. Its reservation is spent, but for the tokens that were not
   * charged. Refused when it has come back too often, or its deadline has passed.
   */
  requeue(ticketId: string, chargedTokens: number | undefined, nowMs: number): Entry | undefined {
    const now = this.#advance(nowMs)
    const reservation = this.#reservations.get(ticketId)
    if (!reservation) return undefined
    this.#reservations.delete(ticketId)
    const { ticket } = reservation
    this.#attendance.hear(ticket.gateway, now)
    this.#bank.named(reservation.pool)?.giveBack(ticket.tokens - (chargedTokens ?? ticket.tokens))
    this.#bank.keepAway(ticket, reservation.pool, chargedTokens === undefined, now)
    const isOver = ticket.requeues >= MAX_REQUEUES || ticket.deadlineMs <= this.#attendance.lived(now)
    ticket.requeues += 1
    this.#waiting.set(ticketId, ticket)
    this.queues[ticket.rank]!.rejoin(reservation, now)
    // Its flow has back what it paid, and whoever asks again its place.
    if (isOver) this.#drop(ticket, now)
    this.#pump(now)
    if (isOver) return this.#refuse('wait-too-long', ticket, now)
    return this.#granted(ticketId) ?? { kind: 'waiting', etaMs: 0 }
  }

  /** Out of the line. False when it was not in it: its turn may have come, see `poolOf`. */
  cancel(ticketId: string, nowMs: number): boolean {
    const now = this.#advance(nowMs)
    const ticket = this.#waiting.get(ticketId)
    if (!ticket) return false
    this.#drop(ticket, now)
    this.#pump(now)
    return true
  }

  isWaiting(ticketId: string): boolean {
    return this.#waiting.has(ticketId)
  }

  /** The pool that holds the reservation; undefined when there is none. */
  poolOf(ticketId: string): string | undefined {
    return this.#reservations.get(ticketId)?.pool
  }

  /** A sign of life of the gateway; the time that holds. */
  hear(gateway: string, nowMs: number): number {
    const now = this.#advance(nowMs)
    this.#attendance.hear(gateway, now)
    return now
  }

  /** Hands out what is due, and clears up after those who are gone. */
  tick(gateway: string, nowMs: number): void {
    const now = this.hear(gateway, nowMs)
    if (this.#attendance.isSweepDue(now)) this.#sweep(now)
    this.#pump(now)
  }

  /** New settings; levels, waiters and reservations stay. */
  configure(settings: RoomSettings, nowMs: number): void {
    const now = this.#advance(nowMs)
    this.settings = settings
    this.#bank.resize(settings, now)
    const waiting = [...this.#waiting.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
    for (const [rank, queue] of this.queues.entries())
      queue.resupply(
        this.supply,
        waiting.filter(ticket => ticket.rank === rank),
      )
    this.#pump(now)
  }

  /** Changes of pools; unknown ones are none. */
  adjust(changes: PoolChange[], nowMs: number): void {
    const now = this.#advance(nowMs)
    for (const change of changes) this.#bank.adjust(change, now)
    this.#pump(now)
  }

  /** Nothing is known of what was spent meanwhile: no pool has anything to give but what flows in from now on. */
  drain(nowMs: number): void {
    this.#advance(nowMs)
    this.#bank.empty()
  }

  /** What one who is refused is told. */
  busy(ask: TicketAsk, nowMs: number): Busy {
    return busy(this, ask, this.#advance(nowMs))
  }

  /** The room as it stands, with at most `most` flows, and as many clients a class. */
  snapshot(most: number, nowMs: number): RoomSnapshot {
    const now = this.#advance(nowMs)
    const gateways = this.#attendance.count(now)
    const rest = { asOfMs: now, reserved: this.reservedCount, gateways, meter: this.meter, napMs: this.napMs }
    return roomSnapshot(this, rest, most)
  }

  #sweep(nowMs: number): void {
    for (const ticket of this.#attendance.gone(this.#waiting.values(), nowMs)) this.#drop(ticket, nowMs)
    this.#attendance.forget(this.#waiting.values(), nowMs)
    this.departed.sweep(nowMs)
    for (const id of lapsedReservations(this.#reservations, nowMs)) this.#reservations.delete(id)
  }

  #standing(ask: TicketAsk, nowMs: number): Entry | undefined {
    const granted = this.#granted(ask.id)
    if (granted || !this.#waiting.has(ask.id)) return granted
    this.#pump(nowMs)
    return this.#granted(ask.id) ?? { kind: 'waiting', etaMs: expectation(this, ask, nowMs).p50Ms }
  }

  #granted(ticketId: string): Entry | undefined {
    const reservation = this.#reservations.get(ticketId)
    return reservation && { kind: 'granted', pool: reservation.pool }
  }

  #refuse(code: AdmissionCode, ask: TicketAsk, nowMs: number): Entry {
    return { kind: 'refused', code, busy: busy(this, ask, nowMs) }
  }

  /** Brings everything up to now; the time that holds from here on. */
  #advance(nowMs: number): number {
    const elapsedMs = nowMs - this.#asOfMs
    const now = elapsedMs < 0 && elapsedMs >= -CLOCK_STEP_MS ? this.#asOfMs : nowMs
    this.#asOfMs = now
    if (this.#waiting.size > 0) this.#attendance.pass(elapsedMs)
    this.#bank.refill(now)
    for (const queue of this.queues) queue.pass(Math.max(0, elapsedMs) / 1000)
    roll(this.meter, now)
    return now
  }

  #pump(nowMs: number): void {
    if (this.#waiting.size === 0 && !this.#bank.hasSavings) {
      this.#wakeAtMs = undefined
      return
    }
    for (let count = 0; count < MOST_GRANTS; count += 1) {
      const turn = nextTurn(this, nowMs)
      if (turn.kind === 'wait') {
        this.#wakeAtMs = this.#waiting.size === 0 ? undefined : nowMs + Math.min(turn.forMs, LONGEST_NAP_MS)
        return
      }
      const { ticket, pool } = turn
      if (turn.fromPurse) pool.takeFromPurse(ticket.tokens, nowMs)
      else pool.take(ticket.tokens)
      this.#waiting.delete(ticket.id)
      this.#reserve(ticket, pool, this.queues[ticket.rank]!.serve(ticket, nowMs), nowMs)
      this.#grants.push({ ticketId: ticket.id, gateway: ticket.gateway, pool: pool.name })
    }
    this.#wakeAtMs = nowMs
  }

  #reserve(ticket: Ticket, pool: Pool, cost: number, nowMs: number): void {
    this.#reservations.set(ticket.id, { ticket, pool: pool.name, costS: cost, grantedMs: nowMs })
    this.meter.current[ticket.rank]! += cost
    earnFloors(this.credit, ticket.rank, cost)
  }

  #drop(ticket: Ticket, nowMs: number): void {
    this.#waiting.delete(ticket.id)
    const lag = this.queues[ticket.rank]!.leave(ticket, nowMs)
    if (ticket.invocation !== undefined) this.departed.keep(ticket, { ...lag, key: ticket.key, leftMs: nowMs })
  }
}
