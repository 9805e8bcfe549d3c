// A waiting line on its own: who joins, who is served next, and what each has had, in seconds of quota.
import { FairQueue } from '../../src/domain/fairQueue.ts'
import type { Reservation, Ticket } from '../../src/domain/ticket.ts'
import { ticketKey } from '../../src/domain/ticket.ts'

/** 1000 tokens a second and requests without a quota: a cost in seconds is tokens / 1000. */
export const SUPPLY = { requestsPerS: Number.POSITIVE_INFINITY, tokensPerS: 1_000 }

export interface Joining {
  client: string
  user: string
  weight?: number
  tokens?: number
}

export class Line {
  readonly queue = new FairQueue(SUPPLY)
  /** Seconds of quota by client, and by client and user. */
  readonly had = new Map<string, number>()
  nowMs = 0
  #count = 0

  join({ client, user, weight = 1, tokens = 100 }: Joining): Ticket {
    const ticket = this.ticket({ client, user, weight, tokens })
    this.queue.join(ticket, this.nowMs)
    return ticket
  }

  ticket({ client, user, weight = 1, tokens = 100 }: Joining): Ticket {
    const key = ticketKey(this.#count++)
    const stamps = { clientStamp: 0, userStamp: 0, isFresh: false, requeues: 0, barred: [], saver: undefined }
    const ask = { id: key, rank: 1, client, user, weight, tokens, deadlineMs: 1e12, gateway: 'here' }
    return { ...ask, ...stamps, key }
  }

  head(): Ticket | undefined {
    const client = this.queue.small.at(0) ?? this.queue.large.at(0)
    return client?.small.at(0) ?? client?.large.at(0)
  }

  /** Serves the head. */
  serve(): Reservation {
    const ticket = this.head()!
    const costS = this.queue.serve(ticket, this.nowMs)
    this.nowMs += costS * 1_000
    for (const name of [ticket.client, `${ticket.client}/${ticket.user}`])
      this.had.set(name, (this.had.get(name) ?? 0) + costS)
    return { ticket, pool: 'only', costS, grantedMs: this.nowMs }
  }

  /** Serves the head, and it comes again at once: a flow that always waits. */
  serveBacklogged(): Reservation {
    const reservation = this.serve()
    this.queue.settle(reservation, reservation.ticket.tokens)
    const { client, user, weight, tokens } = reservation.ticket
    this.join({ client, user, weight, tokens })
    return reservation
  }

  of(name: string): number {
    return this.had.get(name) ?? 0
  }
}
