// The engine of domain/ behind the interface of its twin in Redis: the same arguments, the same replies, outboxes and all.
import { Board } from '../../src/domain/board.ts'
import type { PoolQuota } from '../../src/domain/pool.ts'
import type { PoolNews, Report } from '../../src/domain/poolReport.ts'
import type { Entry, RoomSettings } from '../../src/domain/room.ts'
import type { TicketAsk } from '../../src/domain/ticket.ts'
import { WaitingRoom } from '../../src/domain/waitingRoom.ts'
import type { SCRIPTS } from '../../src/redis/scripts.ts'

export type Verb = Exclude<keyof typeof SCRIPTS, 'status'>

export interface Call {
  verb: Verb
  nowUs: number
  gateway: string
  /** As the script gets them, after time and gateway. */
  args: (string | number)[]
}

export type Result = number | string | (number | string)[] | Report

/** napMs, results, grants. */
export type Reply = [number, Result[], string[]]

export class TwinRoom {
  readonly room: WaitingRoom
  readonly #board: Board
  readonly #outboxes = new Map<string, string[]>()
  readonly #asks = new Map<string, TicketAsk>()
  #version: string

  constructor({ nowUs, args }: Call) {
    this.room = new WaitingRoom(settingsOf(args), nowUs / 1000)
    this.#board = new Board(this.room)
    this.#version = String(args[0])
  }

  call({ verb, nowUs, gateway, args }: Call): Reply {
    const nowMs = nowUs / 1000
    const results = this.#run(verb, args, gateway, nowMs)
    const told = new Set<string>()
    const ids = idsOf(verb, args)
    if (verb === 'acquire' || verb === 'requeue' || verb === 'cancel') {
      for (const [index, result] of results.entries()) {
        const isTold = Array.isArray(result) ? result[0] === 'granted' : typeof result === 'string'
        if (isTold) told.add(String(ids[index]))
      }
    }
    for (const grant of this.room.takeGrants()) this.#outbox(grant.gateway).push(grant.ticketId, grant.pool)
    const outbox = this.#outbox(gateway).splice(0)
    const grants = outbox.filter((_, index) => !told.has(outbox[index - (index % 2)]!))
    return [ceil(this.room.napMs), results, grants]
  }

  #run(verb: Verb, args: (string | number)[], gateway: string, nowMs: number): Result[] {
    const { room } = this
    switch (verb) {
      case 'acquire':
        for (const [id, charged] of chunks(settlementsOf(args), 2)) room.settle(String(id), Number(charged), nowMs)
        return chunks(asksOf(args), 8).map(ask => entryResult(room.acquire(this.#ask(ask, gateway, nowMs), nowMs)))
      case 'settle':
        return chunks(args, 2).map(([id, charged]) => Number(room.settle(String(id), Number(charged), nowMs)))
      case 'requeue':
        return chunks(args, 2).map(([id, charged]) => {
          const entry = room.requeue(String(id), charged === '' ? undefined : Number(charged), nowMs)
          return entry ? entryResult(entry) : ['unknown']
        })
      case 'cancel':
        return args.map(id => this.#cancel(String(id), nowMs))
      case 'tick':
        room.tick(gateway, nowMs)
        return []
      case 'drain':
        room.drain(nowMs)
        return []
      case 'configure':
        return [this.#configure(args, nowMs)]
      case 'report':
        return [this.#board.report(gateway, chunks(args, 11).map(newsOf), nowMs)]
      case 'steer': {
        const pools = chunks(args.slice(1), 5).map(([pool, requests, tokens, gate, failures]) => ({
          pool: String(pool),
          believed: quotas(quotaOf(requests!), quotaOf(tokens!)),
          ...(quotaOf(gate!) !== undefined && { gate: quotaOf(gate!)! }),
          ...(quotaOf(failures!) !== undefined && { failures: quotaOf(failures!)! }),
        }))
        return [Number(this.#board.steer(gateway, { state: String(args[0]), pools }, nowMs))]
      }
    }
  }

  #cancel(id: string, nowMs: number): Result {
    if (!this.room.cancel(id, nowMs)) return this.room.poolOf(id) ?? 0
    const { short, retryAfterMs } = this.room.busy(this.#asks.get(id)!, nowMs)
    return ['left', short, Math.ceil(retryAfterMs)]
  }

  /** Of a ticket that is known already the first ask counts. */
  #ask(args: (string | number)[], gateway: string, nowMs: number): TicketAsk {
    const ask = askOf(args, gateway, nowMs)
    if (this.room.poolOf(ask.id) === undefined && !this.room.isWaiting(ask.id)) this.#asks.set(ask.id, ask)
    return ask
  }

  #configure(args: (string | number)[], nowMs: number): number {
    if (args[0] === this.#version) {
      // Brings the room up to now, and that is all.
      this.room.snapshot(0, nowMs)
      return 0
    }
    this.#version = String(args[0])
    this.room.configure(settingsOf(args), nowMs)
    return 1
  }

  #outbox(gateway: string): string[] {
    const outbox = this.#outboxes.get(gateway) ?? []
    this.#outboxes.set(gateway, outbox)
    return outbox
  }
}

function ceil(napMs: number | undefined): number {
  return napMs === undefined ? -1 : Math.ceil(napMs)
}

function entryResult(entry: Entry): Result {
  if (entry.kind === 'granted') return ['granted', entry.pool]
  if (entry.kind === 'waiting') return ['waiting', Math.ceil(entry.etaMs)]
  return ['refused', entry.code, entry.busy.short, Math.ceil(entry.busy.retryAfterMs)]
}

function askOf(args: (string | number)[], gateway: string, nowMs: number): TicketAsk {
  const [id, rank, client, weight, user, tokens, leftMs, sdkId] = args as [
    string,
    number,
    string,
    number,
    string,
    number,
    number,
    string,
  ]
  const invocation = sdkId === '' ? undefined : sdkId
  return { id, rank, client, weight, user, tokens, deadlineMs: nowMs + leftMs, gateway, invocation }
}

function settingsOf(args: (string | number)[]): RoomSettings {
  const [, burstShare, maxWaiting, maxWaitingPerClient, , failures, ...pools] = args
  return {
    burstShare: Number(burstShare),
    maxWaiting: Number(maxWaiting),
    maxWaitingPerClient: Number(maxWaitingPerClient),
    failures: quotaOf(failures!),
    pools: chunks(pools, 3).map(([name, requests, tokens]) => ({
      name: String(name),
      ...quotas(quotaOf(requests!), quotaOf(tokens!)),
    })),
  }
}

function newsOf(args: (string | number)[]): PoolNews {
  const [sent, accepted, requests, tokens, unclear, succeeded, failed, charged, failedInRow, goodMs] = args
    .slice(1)
    .map(Number)
  const throttled = { throttledRequests: requests!, throttledTokens: tokens!, throttledUnclear: unclear! }
  const counts = { sent: sent!, accepted: accepted!, ...throttled, succeeded: succeeded!, failed: failed! }
  const good = args[10] === '' ? {} : { youngestGoodMs: goodMs! }
  return { pool: String(args[0]), counts: { ...counts, tokens: charged! }, failedInRow: failedInRow!, ...good }
}

function quotas(requestsPerMinute: number | undefined, tokensPerMinute: number | undefined): PoolQuota {
  return { requestsPerMinute, tokensPerMinute }
}

function quotaOf(text: string | number): number | undefined {
  return text === '' ? undefined : Number(text)
}

/** Of the tickets that the verb's results are about. */
export function idsOf(verb: Verb, args: (string | number)[]): (string | number)[] {
  const items = verb === 'acquire' ? chunks(asksOf(args), 8) : chunks(args, verb === 'cancel' ? 1 : 2)
  return items.map(item => item[0]!)
}

export function chunks<Item>(items: Item[], width: number): Item[][] {
  return Array.from({ length: items.length / width }, (_, index) => items.slice(index * width, (index + 1) * width))
}

/** What `acquire` is told before its asks. */
export function settlementsOf(args: (string | number)[]): (string | number)[] {
  return args.slice(1, 1 + 2 * Number(args[0]))
}

export function asksOf(args: (string | number)[]): (string | number)[] {
  return args.slice(1 + 2 * Number(args[0]))
}
