// Who is gone without a word: gateways that are silent, the tickets they waited for, tickets nobody withdrew at their
// deadline, reservations nobody settled. So many a call are cleared up and the others at the next, in an order that a
// sorted set keeps as well: in Redis nobody else is served meanwhile.
import type { Reservation, Ticket } from './ticket.ts'

const MOST_SWEPT = 100
/** A ticket is its owner's to withdraw at its deadline; one this much older has lost its owner. */
const ORPHAN_MS = 5_000
/** A gateway not heard of for so long is dead. */
const SILENT_MS = 10_000
/** A reservation nobody has settled by then stands as the charge. */
const LEASE_MS = 900_000

/** `gateways`: when each was last heard. Those silent for longest first. */
export function silentGateways(gateways: Map<string, number>, nowMs: number): string[] {
  return inOrder(
    [...gateways].filter(([, heardMs]) => isSilent(heardMs, nowMs)),
    ([, heardMs]) => heardMs,
    ([name]) => name,
  ).map(([name]) => name)
}

export function isSilent(heardMs: number, nowMs: number): boolean {
  return heardMs + SILENT_MS < nowMs
}

/** Those of silent gateways, then those whose deadline is long past. */
export function goneTickets(waiting: Iterable<Ticket>, silent: string[], nowMs: number): Ticket[] {
  const left = new Map<string, Ticket[]>(silent.map(gateway => [gateway, []]))
  const late: Ticket[] = []
  for (const ticket of waiting) {
    const ofGateway = left.get(ticket.gateway)
    if (ofGateway) ofGateway.push(ticket)
    else if (ticket.deadlineMs + ORPHAN_MS < nowMs) late.push(ticket)
  }
  const keyOf = (ticket: Ticket) => ticket.key
  return [
    ...[...left.values()].flatMap(tickets => inOrder(tickets, () => 0, keyOf)),
    ...inOrder(late, ticket => ticket.deadlineMs, keyOf),
  ].slice(0, MOST_SWEPT)
}

export function lapsedReservations(reservations: Map<string, Reservation>, nowMs: number): string[] {
  return inOrder(
    [...reservations].filter(([, { grantedMs }]) => grantedMs + LEASE_MS < nowMs),
    ([, { grantedMs }]) => grantedMs,
    ([id]) => id,
  ).map(([id]) => id)
}

/** At most as many as may be swept. */
function inOrder<Item>(items: Item[], scoreOf: (item: Item) => number, nameOf: (item: Item) => string): Item[] {
  return items.sort((a, b) => scoreOf(a) - scoreOf(b) || (nameOf(a) < nameOf(b) ? -1 : 1)).slice(0, MOST_SWEPT)
}
