// The waiting room of one model: its pools, who waits, who holds a reservation. A pure state machine in arrival order:
// nobody overtakes the head, so a large request is never starved. Time arrives as an argument.
import { type Dimension, Pool, type PoolQuota } from './pool.ts'
import type { Refusal } from './refusal.ts'

export interface RoomSettings {
  pools: ({ name: string } & PoolQuota)[]
  burstShare: number
  maxWaiting: number
}

export interface Ticket {
  id: string
  /** Tokens to reserve: estimated input + max output. */
  tokens: number
  deadlineMs: number
}

export interface Grant {
  ticketId: string
  pool: string
}

export type Entry = { kind: 'granted'; grant: Grant } | { kind: 'waiting' } | { kind: 'refused'; refusal: Refusal }

interface Reservation {
  ticket: Ticket
  pool: Pool
  requeues: number
}

/** A ticket the upstream throttled this often is given back to its sender. */
export const MAX_REQUEUES = 3
const SHORTEST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 300_000

export class WaitingRoom {
  readonly pools: Pool[]
  readonly #settings: RoomSettings
  /** Returned tickets wait before newcomers; both in order of entry. */
  readonly #returned = new Map<string, { ticket: Ticket; requeues: number }>()
  readonly #waiting = new Map<string, Ticket>()
  readonly #reservations = new Map<string, Reservation>()
  #waitingTokens = 0

  constructor(settings: RoomSettings, nowMs: number) {
    this.#settings = settings
    this.pools = settings.pools.map(pool => new Pool(pool.name, pool, settings.burstShare, nowMs))
  }

  get waitingCount(): number {
    return this.#waiting.size + this.#returned.size
  }

  get waitingTokens(): number {
    return this.#waitingTokens
  }

  get reservedCount(): number {
    return this.#reservations.size
  }

  /** Grants at once when nobody waits and a pool fits; otherwise a place in the line, or a refusal. */
  enter(ticket: Ticket, nowMs: number): Entry {
    if (!this.pools.some(pool => pool.canEverHold(ticket.tokens))) {
      return { kind: 'refused', refusal: cannotFit(ticket.tokens, this.pools) }
    }
    if (this.waitingCount === 0) {
      const pool = this.#fitting(ticket, nowMs)
      if (pool) return { kind: 'granted', grant: this.#grant(ticket, pool, 0) }
    }
    if (this.waitingCount >= this.#settings.maxWaiting)
      return { kind: 'refused', refusal: this.tooBusy('queue-full', ticket.tokens, nowMs) }
    this.#waiting.set(ticket.id, ticket)
    this.#waitingTokens += ticket.tokens
    return { kind: 'waiting' }
  }

  /** Grants to the head of the line while it fits. */
  pump(nowMs: number): Grant[] {
    const grants: Grant[] = []
    for (;;) {
      const head = this.#head()
      const pool = head && this.#fitting(head.ticket, nowMs)
      if (!pool) return grants
      this.leave(head.ticket.id)
      grants.push(this.#grant(head.ticket, pool, head.requeues))
    }
  }

  /** Milliseconds until the head may fit; undefined when nobody waits. */
  msUntilNextGrant(nowMs: number): number | undefined {
    const head = this.#head()
    if (!head) return undefined
    const waits = this.#able(head.ticket).map(pool => {
      pool.refill(nowMs)
      return pool.msUntilFits(head.ticket.tokens, nowMs)
    })
    return Math.min(...waits)
  }

  /** Out of the line: deadline passed, or the client went away. False when it was not in it. */
  leave(ticketId: string): boolean {
    const ticket = this.#waiting.get(ticketId) ?? this.#returned.get(ticketId)?.ticket
    if (!ticket) return false
    this.#waiting.delete(ticketId)
    this.#returned.delete(ticketId)
    this.#waitingTokens -= ticket.tokens
    return true
  }

  /** Ends a reservation with what was really charged. Exactly once: a second call, or an unknown id, changes nothing. */
  settle(ticketId: string, chargedTokens: number, nowMs: number): boolean {
    const reservation = this.#reservations.get(ticketId)
    if (!reservation) return false
    this.#reservations.delete(ticketId)
    reservation.pool.refill(nowMs)
    reservation.pool.giveBack(reservation.ticket.tokens - chargedTokens)
    return true
  }

  /**
   * The upstream throttled it: back to the head of the line. Its reservation is spent, not refunded: the upstream's bucket
   * is emptier than ours. False when it has come back too often, or its deadline has passed.
   */
  requeue(ticketId: string, nowMs: number): boolean {
    const reservation = this.#reservations.get(ticketId)
    if (!reservation) return false
    this.#reservations.delete(ticketId)
    const { ticket, pool, requeues } = reservation
    pool.hold(requeues + 1, nowMs)
    if (requeues >= MAX_REQUEUES || ticket.deadlineMs <= nowMs) return false
    this.#returned.set(ticketId, { ticket, requeues: requeues + 1 })
    this.#waitingTokens += ticket.tokens
    return true
  }

  /**
   * How long until a request of `tokens` that came now would have its turn, at the configured rates: debts are paid and
   * the line is served first. What runs is taken at its reservation, so settlements make it shorter, not longer.
   */
  backlog(tokens: number, nowMs: number): { waitMs: number; short: Dimension } {
    for (const pool of this.pools) pool.refill(nowMs)
    const requestsMs = this.#msUntilSupplied(this.waitingCount + 1, pool => pool.requests)
    const tokensMs = this.#msUntilSupplied(this.#waitingTokens + tokens, pool => pool.tokens)
    return { waitMs: Math.max(requestsMs, tokensMs), short: requestsMs > tokensMs ? 'requests' : 'tokens' }
  }

  /** Not now, in Bedrock's own words for the quota that is short, with an honest time to come back. */
  tooBusy(code: 'queue-full' | 'wait-timeout', tokens: number, nowMs: number): Refusal {
    const { waitMs, short } = this.backlog(tokens, nowMs)
    return {
      code,
      message: `Too many ${short}, please wait before trying again.`,
      retryAfterMs: Math.min(Math.max(waitMs, SHORTEST_RETRY_MS), LONGEST_RETRY_MS),
    }
  }

  #msUntilSupplied(wanted: number, bucketOf: (pool: Pool) => Pool['tokens']): number {
    let level = 0
    let rate = 0
    for (const pool of this.pools) {
      const bucket = bucketOf(pool)
      if (!bucket) return 0
      level += bucket.state.level
      rate += bucket.shape.slowRate
    }
    return Math.max(0, wanted - level) / rate
  }

  #head(): { ticket: Ticket; requeues: number } | undefined {
    for (const returned of this.#returned.values()) return returned
    for (const ticket of this.#waiting.values()) return { ticket, requeues: 0 }
    return undefined
  }

  #able(ticket: Ticket): Pool[] {
    return this.pools.filter(pool => pool.canEverHold(ticket.tokens))
  }

  /** Of the pools the ticket fits now, the one that keeps the most water. */
  #fitting(ticket: Ticket, nowMs: number): Pool | undefined {
    let best: Pool | undefined
    for (const pool of this.pools) {
      if (!pool.canEverHold(ticket.tokens)) continue
      pool.refill(nowMs)
      if (pool.msUntilFits(ticket.tokens, nowMs) > 0) continue
      if (!best || pool.waterSeconds(ticket.tokens) > best.waterSeconds(ticket.tokens)) best = pool
    }
    return best
  }

  #grant(ticket: Ticket, pool: Pool, requeues: number): Grant {
    pool.take(ticket.tokens)
    this.#reservations.set(ticket.id, { ticket, pool, requeues })
    return { ticketId: ticket.id, pool: pool.name }
  }
}

function cannotFit(tokens: number, pools: Pool[]): Refusal {
  const largest = Math.max(...pools.map(pool => pool.tokens?.shape.quotaPerMinute ?? 0))
  return {
    code: 'cannot-fit',
    message:
      `The request needs ${tokens} tokens (estimated input + maximum output), more than the largest ` +
      `tokens-per-minute quota of the model, ${largest}. Lower its output cap or shorten its input.`,
  }
}
