// The shared side of the simulated cluster: one waiting room as the script in Redis will serve it. Every call runs whole;
// turns for other gateways go to their outboxes (the truth) and are announced (a hint); the reply carries the caller's own
// outbox and how long until somebody should look again. It also checks what no scenario may break: see `faults`.

import type { Entry, RoomSettings } from '../../src/domain/room.ts'
import type { Grant, TicketAsk } from '../../src/domain/ticket.ts'
import { WaitingRoom } from '../../src/domain/waitingRoom.ts'
import type { VirtualTime } from './virtualTime.ts'

export interface LedgerWatch {
  admitted(pool: string, tokens: number): void
  /** A settlement: what was reserved, and what was charged in the end. */
  settled(pool: string, reservedTokens: number, chargedTokens: number): void
}

export interface Answer<T> {
  result: T
  grants: Grant[]
  napMs: number | undefined
}

interface Reserved {
  pool: string
  tokens: number
  sinceMs: number
}

/** The engine drops a reservation nobody settled for so long. */
const LEASE_MS = 900_000
const EPOCH_MS = Date.UTC(2026, 10, 22)

export class SimulatedLedger {
  room: WaitingRoom
  /** Counts restarts: what was sent to the one before finds nobody. */
  generation = 0
  /** How far its clock is ahead of true time. */
  clockAheadMs = 0
  /** Broken promises, in words. */
  readonly faults: string[] = []
  announce: (gateway: string) => void = () => {}
  readonly #time: VirtualTime
  readonly #settings: RoomSettings
  readonly #watch: LedgerWatch
  readonly #outboxes = new Map<string, Grant[]>()
  /** Whom the call at hand gave turns. */
  readonly #announced = new Set<string>()
  readonly #asked = new Map<string, number>()
  readonly #reserved = new Map<string, Reserved>()

  constructor(time: VirtualTime, settings: RoomSettings, watch: LedgerWatch) {
    this.#time = time
    this.#settings = settings
    this.#watch = watch
    this.room = new WaitingRoom(settings, this.nowMs)
  }

  get nowMs(): number {
    return EPOCH_MS + this.#time.nowMs + this.clockAheadMs
  }

  /** `waitMs`: what is left of its time to wait, so that no gateway's clock matters; or an absolute deadline. */
  acquire(ask: Omit<TicketAsk, 'deadlineMs'>, deadlineMs: number): Answer<Entry> {
    this.#asked.set(ask.id, ask.tokens)
    return this.#serve(ask.gateway, () => {
      const entry = this.room.acquire({ ...ask, deadlineMs }, this.nowMs)
      this.#recordGrants()
      if (entry.kind === 'granted' && !this.#reserved.has(ask.id)) this.#admit(ask.id, entry.pool)
      if (entry.kind === 'refused') this.#asked.delete(ask.id)
      return entry
    })
  }

  settle(gateway: string, ticketId: string, chargedTokens: number): Answer<boolean> {
    return this.#serve(gateway, () => {
      const isSettled = this.room.settle(ticketId, chargedTokens, this.nowMs)
      const reserved = this.#reserved.get(ticketId)
      this.#forget(ticketId)
      if (isSettled && reserved) this.#watch.settled(reserved.pool, reserved.tokens, chargedTokens)
      else if (isSettled) this.faults.push(`${ticketId} was settled twice`)
      else if (reserved && reserved.sinceMs + LEASE_MS > this.#time.nowMs)
        this.faults.push(`the reservation of ${ticketId} was lost`)
      return isSettled
    })
  }

  requeue(gateway: string, ticketId: string): Answer<Entry | undefined> {
    return this.#serve(gateway, () => {
      const entry = this.room.requeue(ticketId, undefined, this.nowMs)
      this.#reserved.delete(ticketId)
      if (entry?.kind === 'refused') this.#forget(ticketId)
      return entry
    })
  }

  cancel(gateway: string, ticketId: string): Answer<boolean> {
    return this.#serve(gateway, () => {
      const isOut = this.room.cancel(ticketId, this.nowMs)
      if (isOut) this.#forget(ticketId)
      return isOut
    })
  }

  tick(gateway: string): Answer<void> {
    return this.#serve(gateway, () => this.room.tick(gateway, this.nowMs))
  }

  /** Only what lies in the outbox. */
  collect(gateway: string): Answer<void> {
    return this.#serve(gateway, () => {})
  }

  setGate(pool: string, gate: number): void {
    this.#serve('operator', () => this.room.adjust([{ pool, gate }], this.nowMs))
  }

  /** All is lost: levels, waiters, reservations, outboxes. */
  restart(): void {
    this.generation += 1
    this.room = new WaitingRoom(this.#settings, this.nowMs)
    this.#outboxes.clear()
    this.#asked.clear()
    this.#reserved.clear()
  }

  #serve<T>(gateway: string, verb: () => T): Answer<T> {
    const result = verb()
    this.#recordGrants()
    const grants = this.#outboxes.get(gateway) ?? []
    this.#outboxes.delete(gateway)
    for (const other of this.#announced) if (other !== gateway) this.announce(other)
    this.#announced.clear()
    return { result, grants, napMs: this.room.napMs }
  }

  #recordGrants(): void {
    for (const grant of this.room.takeGrants()) {
      this.#admit(grant.ticketId, grant.pool)
      const outbox = this.#outboxes.get(grant.gateway)
      if (outbox) outbox.push(grant)
      else this.#outboxes.set(grant.gateway, [grant])
      this.#announced.add(grant.gateway)
    }
  }

  #admit(ticketId: string, pool: string): void {
    const tokens = this.#asked.get(ticketId)
    if (tokens === undefined) return void this.faults.push(`${ticketId} was granted after its end`)
    if (this.#reserved.has(ticketId)) this.faults.push(`${ticketId} was granted twice`)
    this.#reserved.set(ticketId, { pool, tokens, sinceMs: this.#time.nowMs })
    this.#watch.admitted(pool, tokens)
  }

  #forget(ticketId: string): void {
    this.#reserved.delete(ticketId)
    this.#asked.delete(ticketId)
  }
}
