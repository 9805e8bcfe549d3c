// A waiting room in time that a test moves: asks, settles, ticks when the room says so, and keeps the book of all turns.
import assert from 'node:assert/strict'
import type { Entry, RoomSettings } from '../../src/domain/room.ts'
import type { TicketAsk } from '../../src/domain/ticket.ts'
import { WaitingRoom } from '../../src/domain/waitingRoom.ts'

export const HIGH = 0
export const NORMAL = 1
export const LOW = 2

export interface Turn {
  id: string
  pool: string
  atMs: number
  tokens: number
  rank: number
}

export type AskOptions = Partial<Omit<TicketAsk, 'id'>>

export class RoomBench {
  readonly room: WaitingRoom
  readonly turns: Turn[] = []
  /** Granted and not yet ended. */
  readonly running = new Map<string, Turn>()
  readonly #asks = new Map<string, TicketAsk>()
  nowMs: number

  constructor(pools: RoomSettings['pools'], settings: Partial<RoomSettings> = {}, startMs = 0) {
    this.nowMs = startMs
    this.room = new WaitingRoom(settingsOf(pools, settings), startMs)
  }

  ask(id: string, options: AskOptions = {}): Entry {
    const ask = askOf(id, options)
    this.#asks.set(id, ask)
    const entry = this.room.acquire(ask, this.nowMs)
    this.#record()
    if (entry.kind === 'granted' && !this.running.has(id)) this.#granted(id, entry.pool)
    return entry
  }

  /** By default what was reserved. */
  settle(id: string, chargedTokens = this.#asks.get(id)!.tokens): boolean {
    this.running.delete(id)
    const settled = this.room.settle(id, chargedTokens, this.nowMs)
    this.#record()
    return settled
  }

  /** By default it was throttled. */
  requeue(id: string, chargedTokens?: number): Entry | undefined {
    this.running.delete(id)
    const entry = this.room.requeue(id, chargedTokens, this.nowMs)
    this.#record()
    return entry
  }

  cancel(id: string): boolean {
    const left = this.room.cancel(id, this.nowMs)
    this.#record()
    return left
  }

  tick(gateway = 'here'): void {
    this.room.tick(gateway, this.nowMs)
    this.#record()
  }

  gate(pool: string, gate: number): void {
    this.room.adjust([{ pool, gate }], this.nowMs)
    this.#record()
  }

  configure(pools: RoomSettings['pools'], settings: Partial<RoomSettings> = {}): void {
    this.room.configure(settingsOf(pools, settings), this.nowMs)
    this.#record()
  }

  /** Lets time pass, looking whenever the room asks for it; `each` runs after every look. */
  pass(ms: number, each: () => void = () => {}): void {
    const untilMs = this.nowMs + ms
    while (this.nowMs < untilMs) {
      const napMs = Math.max(1, Math.ceil(this.room.napMs ?? ms))
      this.nowMs = Math.min(untilMs, this.nowMs + napMs)
      this.tick()
      each()
    }
  }

  granted(id: string): Turn | undefined {
    return this.turns.findLast(turn => turn.id === id)
  }

  /** Ids in the order of their turns, since the `from`th. */
  order(from = 0): string[] {
    return this.turns.slice(from).map(turn => turn.id)
  }

  pool(name: string) {
    return this.room.pools.find(pool => pool.name === name)!
  }

  #record(): void {
    for (const { ticketId, pool } of this.room.takeGrants()) this.#granted(ticketId, pool)
  }

  #granted(id: string, pool: string): void {
    assert.ok(!this.running.has(id), `${id} was granted twice`)
    const { tokens, rank } = this.#asks.get(id)!
    const turn = { id, pool, atMs: this.nowMs, tokens, rank }
    this.turns.push(turn)
    this.running.set(id, turn)
  }
}

export function askOf(id: string, options: AskOptions = {}): TicketAsk {
  const rest = { rank: NORMAL, client: 'c', weight: 1, user: 'u', tokens: 1, deadlineMs: 1e15, gateway: 'here' }
  return { id, ...rest, ...options }
}

function settingsOf(pools: RoomSettings['pools'], settings: Partial<RoomSettings>): RoomSettings {
  return { pools, burstShare: 0.05, maxWaiting: 10_000, maxWaitingPerClient: 10_000, ...settings }
}
