// What a class knows of one client: its tag, its users' lines and tags, and what it was served of late.
import { SortedSet } from './sortedSet.ts'
import type { Ticket, TicketAsk } from './ticket.ts'

export interface UserLine {
  name: string
  tag: number
  /** In order of entry; a ticket that comes back is older than all others of its user. */
  tickets: Ticket[]
  /** Summed cost of the tickets. */
  waitingCostS: number
  /** Of the head, as it was last ranked. */
  rankedKey: string
}

export interface ClientLine {
  name: string
  weight: number
  tag: number
  /** The class's virtual time when it began to wait: refunds never take its tag below. */
  stamp: number
  waiting: number
  /** The virtual time among its users. */
  virtualS: number
  /** Up to when `virtualS` has been brought while nobody of it waits. */
  asOfMs: number
  users: Map<string, UserLine>
  /** Heads of its users' lines: those that compete for the bucket, by start tag, … */
  small: SortedSet<Ticket>
  /** … and those that are saved up for, by finish tag. */
  large: SortedSet<Ticket>
  /** Finish tags of users that do not wait. */
  idle: SortedSet<string>
  /** Seconds of quota it was served, halved every minute; … */
  servedS: number
  /** … up to when it has been. */
  servedAsOfMs: number
}

const MINUTE_MS = 60_000

export function newClient(ask: TicketAsk, virtualS: number, nowMs: number): ClientLine {
  return {
    name: ask.client,
    weight: ask.weight,
    tag: virtualS,
    stamp: virtualS,
    waiting: 0,
    virtualS: 0,
    asOfMs: nowMs,
    users: new Map(),
    small: new SortedSet(),
    large: new SortedSet(),
    idle: new SortedSet(),
    servedS: 0,
    servedAsOfMs: nowMs,
  }
}

/** What it was served as it counts at `nowMs`, and up to when that is. */
export function servedLately(client: ClientLine, nowMs: number): Pick<ClientLine, 'servedS' | 'servedAsOfMs'> {
  const minutes = Math.max(0, Math.floor((nowMs - client.servedAsOfMs) / MINUTE_MS))
  return { servedS: client.servedS / 2 ** minutes, servedAsOfMs: client.servedAsOfMs + minutes * MINUTE_MS }
}
