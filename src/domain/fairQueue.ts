// The waiting line of one priority class: two-level start-time fair queueing (Goyal, Vin and Cheng, 1996). Clients share by
// weight, the users of a client share its part equally, so inventing user names wins nothing.
//
// Each client and user has a tag in seconds of quota: what it has had, per weight. While it waits the tag is its start tag
// (who has had least goes first); afterwards its finish tag, kept only while ahead of the virtual time. A newcomer starts
// at the virtual time: it neither pays for its absence nor profits by it.
import { type ClientLine, newClient, servedLately, type UserLine } from './clientLine.ts'
import { costS, isLarge, type Supply } from './cost.ts'
import type { Lag } from './departed.ts'
import { SortedSet } from './sortedSet.ts'
import type { Reservation, Ticket, TicketAsk } from './ticket.ts'

export interface Standing {
  /** Cost of its user's tickets before it. */
  ownS: number
  /** Users of its client that wait, itself included. */
  users: number
  /** How far its user's and its client's tags are ahead of the virtual times: what they have had beyond their share. */
  userAheadS: number
  clientAheadS: number
  /** Weights of the clients that wait, its own included. */
  weights: number
}

export class FairQueue {
  virtualS = 0
  waiting = 0
  /** Summed cost of the waiting tickets, and weight of the waiting clients. */
  waitingCostS = 0
  waitingWeight = 0
  readonly clients = new Map<string, ClientLine>()
  readonly small = new SortedSet<ClientLine>()
  readonly large = new SortedSet<ClientLine>()
  #supply: Supply

  constructor(supply: Supply) {
    this.#supply = supply
  }

  /** While nobody waits nobody is owed anything: what was had is forgotten at the pace of the quota. */
  pass(elapsedS: number): void {
    if (this.waiting === 0) this.virtualS += elapsedS
  }

  /** Other quotas, other costs: every head is ranked anew. `waiting`: the class's tickets, in order of entry. */
  resupply(supply: Supply, waiting: Ticket[]): void {
    this.#supply = supply
    this.waitingCostS = 0
    for (const { client, user } of waiting) this.clients.get(client)!.users.get(user)!.waitingCostS = 0
    for (const ticket of waiting) {
      const cost = costS(supply, ticket.tokens)
      const client = this.clients.get(ticket.client)!
      const user = client.users.get(ticket.user)!
      this.waitingCostS += cost
      user.waitingCostS += cost
      this.#rank(client, user)
    }
  }

  /** `lag`: what its flow was behind when it left the line, if it did. */
  join(ticket: Ticket, nowMs: number, lag?: Lag): void {
    const client = this.#client(ticket, nowMs)
    this.#startWaiting(client, ticket, this.virtualS - (lag?.clientS ?? 0))
    ticket.clientStamp = client.stamp
    // One who waits already is owed what its tag lags behind.
    const user = client.users.get(ticket.user)
    ticket.userStamp = user ? Math.min(client.virtualS, user.tag) : client.virtualS - (lag?.userS ?? 0)
    ticket.isFresh = !user && client.idle.scoreOf(ticket.user) === undefined
    this.#line(client, ticket)
  }

  /** Out of the line without a turn. */
  leave(ticket: Ticket, nowMs: number): Lag {
    const client = this.clients.get(ticket.client)!
    const user = client.users.get(ticket.user)!
    const lag = {
      userS: user.tickets.length > 1 ? 0 : Math.max(0, client.virtualS - user.tag),
      clientS: client.waiting > 1 ? 0 : Math.max(0, this.virtualS - client.tag),
    }
    this.#unline(client, user, ticket, nowMs)
    return lag
  }

  /** Its turn has come: its flow pays. Returns the cost in seconds. */
  serve(ticket: Ticket, nowMs: number): number {
    const client = this.clients.get(ticket.client)!
    const user = client.users.get(ticket.user)!
    const cost = this.#pay(client, ticket, nowMs)
    client.virtualS = Math.max(client.virtualS, user.tag)
    client.idle.deleteUpTo(client.virtualS)
    user.tag += cost
    this.#unline(client, user, ticket, nowMs)
    return cost
  }

  /** A turn without a wait: the flow pays all the same. Only while nobody of the class waits. */
  serveAtOnce(ticket: Ticket, nowMs: number): number {
    const client = this.#client(ticket, nowMs)
    client.tag = Math.max(client.tag, this.virtualS)
    const tag = client.idle.scoreOf(ticket.user)
    const start = Math.max(tag ?? 0, client.virtualS)
    ticket.isFresh = tag === undefined
    const cost = this.#pay(client, ticket, nowMs)
    ticket.clientStamp = this.virtualS
    ticket.userStamp = start
    client.virtualS = start
    this.#keepIdle(client, ticket.user, start + cost)
    return cost
  }

  /** The real charge differs from the reserved one: the flow gets the difference back, or pays it. */
  settle({ ticket, costS: paidS }: Reservation, chargedTokens: number): void {
    const client = this.clients.get(ticket.client)
    if (!client) return
    const cost = costS(this.#supply, chargedTokens)
    // Start tags alone would let the virtual time stand still while every request comes under a fresh name, and who is known
    // already would wait for ever: so what such requests take moves it as a fluid server would.
    if (ticket.isFresh && client.users.size > 0) client.virtualS += cost / client.users.size
    const difference = cost - paidS
    this.#refund(client, ticket, difference)
    const user = client.users.get(ticket.user)
    if (user) {
      user.tag = Math.max(user.tag + difference, user.tickets[0]!.userStamp)
      this.#rank(client, user)
    } else {
      const tag = client.idle.scoreOf(ticket.user)
      if (tag !== undefined) this.#keepIdle(client, ticket.user, tag + difference)
    }
  }

  /** The upstream threw it back: its flow gets back what it paid, and it is the oldest of its user again. */
  rejoin({ ticket, costS: paidS }: Reservation, nowMs: number): void {
    const client = this.#client(ticket, nowMs)
    this.#refund(client, ticket, -paidS)
    this.#startWaiting(client, ticket, ticket.clientStamp)
    const user = client.users.get(ticket.user)
    const tag = user?.tag ?? client.idle.scoreOf(ticket.user) ?? 0
    this.#line(client, ticket, Math.max(tag - paidS, ticket.userStamp))
  }

  /** Seconds of quota by which the ticket's flow lags behind what a fluid server would have given it. */
  owedS(ticket: Ticket): number {
    const client = this.clients.get(ticket.client)!
    const first = client.users.get((client.small.at(0) ?? client.large.at(0)!).user)!
    const user = client.users.get(ticket.user)!
    return client.weight * (this.virtualS - client.tag) + (Math.max(client.virtualS, first.tag) - user.tag)
  }

  /** Where one who asked now would stand. */
  standing(ask: TicketAsk): Standing {
    const client = this.clients.get(ask.client)
    if (!client) return { ownS: 0, users: 1, userAheadS: 0, clientAheadS: 0, weights: this.waitingWeight + ask.weight }
    const user = client.users.get(ask.user)
    const tag = user?.tag ?? client.idle.scoreOf(ask.user) ?? 0
    return {
      ownS: user?.waitingCostS ?? 0,
      users: client.users.size + (user ? 0 : 1),
      userAheadS: Math.max(0, tag - client.virtualS),
      clientAheadS: Math.max(0, client.tag - this.virtualS),
      weights: this.waitingWeight + (client.waiting > 0 ? 0 : ask.weight),
    }
  }

  #client(ask: TicketAsk, nowMs: number): ClientLine {
    let client = this.clients.get(ask.client)
    if (!client) {
      client = newClient(ask, this.virtualS, nowMs)
      this.clients.set(ask.client, client)
    }
    if (client.waiting > 0) {
      this.waitingWeight += ask.weight - client.weight
    } else {
      client.virtualS += Math.max(0, nowMs - client.asOfMs) / 1000
      client.asOfMs = nowMs
      client.idle.deleteUpTo(client.virtualS)
    }
    client.weight = ask.weight
    return client
  }

  #startWaiting(client: ClientLine, ticket: Ticket, stamp: number): void {
    if (client.waiting === 0) {
      client.tag = Math.max(client.tag, stamp)
      client.stamp = stamp
      this.waitingWeight += client.weight
    }
    client.waiting += 1
    this.waiting += 1
    this.waitingCostS += costS(this.#supply, ticket.tokens)
  }

  /** Into its user's line; `tag` is the user's new tag, by default that of one who goes on waiting or begins to. */
  #line(client: ClientLine, ticket: Ticket, tag?: number): void {
    let user = client.users.get(ticket.user)
    if (!user) {
      const start = Math.max(client.idle.scoreOf(ticket.user) ?? 0, ticket.userStamp)
      user = { name: ticket.user, tag: start, tickets: [], waitingCostS: 0, rankedKey: '' }
      client.users.set(ticket.user, user)
      client.idle.delete(ticket.user)
    }
    if (tag !== undefined) user.tag = tag
    const place = user.tickets.findLastIndex(other => other.key < ticket.key) + 1
    user.tickets.splice(place, 0, ticket)
    user.waitingCostS += costS(this.#supply, ticket.tokens)
    this.#rank(client, user)
  }

  #unline(client: ClientLine, user: UserLine, ticket: Ticket, nowMs: number): void {
    const cost = costS(this.#supply, ticket.tokens)
    user.tickets.splice(user.tickets.indexOf(ticket), 1)
    user.waitingCostS -= cost
    client.waiting -= 1
    this.waiting -= 1
    this.waitingCostS = this.waiting === 0 ? 0 : this.waitingCostS - cost
    if (client.waiting === 0) {
      client.asOfMs = nowMs
      this.waitingWeight = this.waiting === 0 ? 0 : this.waitingWeight - client.weight
    }
    const next = user.tickets[0]
    if (next) user.tag = Math.max(user.tag, next.userStamp)
    this.#rank(client, user)
  }

  /** Files the head of the user's line under its tag, or the user among the idle; then the client likewise. */
  #rank(client: ClientLine, user: UserLine): void {
    client.small.delete(user.rankedKey)
    client.large.delete(user.rankedKey)
    const head = user.tickets[0]
    if (!head) {
      client.users.delete(user.name)
      this.#keepIdle(client, user.name, user.tag)
    } else {
      user.rankedKey = head.key
      if (isLarge(this.#supply, head.tokens))
        client.large.set(head.key, user.tag + costS(this.#supply, head.tokens), head)
      else client.small.set(head.key, user.tag, head)
    }
    this.#rankClient(client)
  }

  #rankClient(client: ClientLine): void {
    if (client.small.size > 0) this.small.set(client.name, client.tag, client)
    else this.small.delete(client.name)
    if (client.large.size > 0) this.large.set(client.name, client.tag, client)
    else this.large.delete(client.name)
  }

  #pay(client: ClientLine, ticket: Ticket, nowMs: number): number {
    const cost = costS(this.#supply, ticket.tokens)
    Object.assign(client, servedLately(client, nowMs))
    client.servedS += cost
    this.virtualS = Math.max(this.virtualS, client.tag)
    client.tag += cost / client.weight
    return cost
  }

  #refund(client: ClientLine, ticket: Ticket, difference: number): void {
    client.servedS = Math.max(0, client.servedS + difference)
    const tag = client.tag + difference / ticket.weight
    client.tag = client.waiting > 0 ? Math.max(tag, client.stamp) : tag
    this.#rankClient(client)
  }

  #keepIdle(client: ClientLine, user: string, tag: number): void {
    if (tag > client.virtualS) client.idle.set(user, tag, user)
    else client.idle.delete(user)
  }
}
