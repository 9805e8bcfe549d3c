// One invocation's place in a waiting room, and the reservation it becomes when its turn has come.

/** What somebody asks for. */
export interface TicketAsk {
  id: string
  /** 0 high, 1 normal, 2 low: the index into PRIORITIES. */
  rank: number
  client: string
  weight: number
  user: string
  /** Tokens to reserve: estimated input + max output. */
  tokens: number
  deadlineMs: number
  /** The replica that asks, and is told. */
  gateway: string
  /** What its client's SDK calls all its attempts at this call; absent: it does not say. */
  invocation?: string | undefined
}

export interface Ticket extends TicketAsk {
  /** Its number in order of entry, of a fixed width: ties go to the ticket that came first. */
  key: string
  /** Virtual times at entry: its flow's tags never count from before it. */
  clientStamp: number
  userStamp: number
  /** Its user was not known when it came. */
  isFresh: boolean
  requeues: number
  /** Pools that throttled it lately, with the time until which it stays away. */
  barred: { pool: string; untilMs: number }[]
  /** A large ticket's pool, which saves for it; valid while `epoch` is the room's. */
  saver: { pool: string; epoch: number } | undefined
}

/** Whether it stays away from the pool for the time being. */
export function isBarred(ticket: Ticket, pool: string, nowMs: number): boolean {
  return ticket.barred.some(bar => bar.pool === pool && bar.untilMs > nowMs)
}

export interface Reservation {
  ticket: Ticket
  pool: string
  /** Seconds of the model's quota it was charged. */
  costS: number
  grantedMs: number
}

export interface Grant {
  ticketId: string
  gateway: string
  pool: string
}

const KEY_WIDTH = 15

export function ticketKey(number: number): string {
  return String(number).padStart(KEY_WIDTH, '0')
}

/** `number`: how many came before it. */
export function newTicket(ask: TicketAsk, number: number): Ticket {
  const { id, rank, client, weight, user, tokens, deadlineMs, gateway, invocation } = ask
  return {
    id,
    rank,
    client,
    weight,
    user,
    tokens,
    deadlineMs,
    gateway,
    invocation,
    key: ticketKey(number),
    clientStamp: 0,
    userStamp: 0,
    isFresh: false,
    requeues: 0,
    barred: [],
    saver: undefined,
  }
}
