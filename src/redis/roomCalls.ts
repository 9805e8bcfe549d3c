// The scripts of one model's room as typed calls: what goes in as ARGV, what comes out of the reply (redis/scripts/*.lua).
import type { Dimension, PoolQuota } from '../domain/pool.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import type { AdmissionCode, Busy } from '../domain/refusal.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { RoomSnapshot } from '../domain/roomSnapshot.ts'
import type { TicketAsk } from '../domain/ticket.ts'
import { newsArgs, readReport, steeringArgs } from './boardCalls.ts'
import type { RedisLink } from './connection.ts'
import { RedisFault } from './fault.ts'
import { roomPrefix } from './keys.ts'
import { readSnapshot } from './roomStatus.ts'
import type { Script, ScriptReply } from './script.ts'
import { SCRIPTS } from './scripts.ts'

export type Standing =
  | { kind: 'granted'; pool: string }
  | { kind: 'waiting'; etaMs: number }
  | { kind: 'refused'; code: AdmissionCode; busy: Busy }
  | { kind: 'unknown' }

export type Withdrawal =
  | { kind: 'left'; busy: Busy }
  /** Its turn had come already. */
  | { kind: 'granted'; pool: string }

/** It never came into the line, or the line was lost: nobody knows how things stand. */
export const UNKNOWN_BUSY: Busy = { short: 'tokens', retryAfterMs: 1_000 }

/** What a reservation came to. */
export interface Charge {
  ticketId: string
  tokens: number
}

export interface Reply<Result> {
  /** When somebody should tick; undefined when nobody waits. */
  napMs: number | undefined
  results: Result[]
  grants: { ticketId: string; pool: string }[]
}

/** Redis's own time is the script's: the first argument is for tests. */
const NOW = ''

/** Called when a call begins; what it returns, when it has ended. */
export type CallObserver = (call: string) => (ok: boolean) => void

export class RoomCalls {
  readonly #link: RedisLink
  readonly #keys: string[]
  readonly #gateway: string

  readonly #observe: CallObserver

  /** `observe` is told of every call that has ended. */
  constructor(link: RedisLink, model: string, gateway: string, observe: CallObserver = () => () => {}) {
    this.#link = link
    this.#keys = [roomPrefix(model)]
    this.#gateway = gateway
    this.#observe = observe
  }

  /** What crosses the wire is the time left at `nowMs`: the clocks need not agree. */
  acquire(asks: TicketAsk[], nowMs: number, charges: Charge[]): Promise<Reply<Standing>> {
    const settlements = charges.flatMap(({ ticketId, tokens }) => [ticketId, tokens])
    const args = asks.flatMap(ask => [
      ask.id,
      ask.rank,
      ask.client,
      ask.weight,
      ask.user,
      ask.tokens,
      Math.max(0, Math.round(ask.deadlineMs - nowMs)),
      ask.invocation ?? '',
    ])
    return this.#call(SCRIPTS.acquire, [charges.length, ...settlements, ...args], standing)
  }

  /** `chargedTokens` absent: it was throttled. */
  requeue(ticketId: string, chargedTokens?: number): Promise<Reply<Standing>> {
    return this.#call(SCRIPTS.requeue, [ticketId, chargedTokens ?? ''], standing)
  }

  settle(charges: Charge[]): Promise<Reply<boolean>> {
    const args = charges.flatMap(({ ticketId, tokens }) => [ticketId, tokens])
    return this.#call(SCRIPTS.settle, args, result => result === 1)
  }

  /** Each is out of the line, or its turn had come: then in which pool; or it was never in it. */
  cancel(ticketIds: string[]): Promise<Reply<Withdrawal>> {
    return this.#call(SCRIPTS.cancel, ticketIds, result => {
      if (typeof result === 'string') return { kind: 'granted', pool: result }
      if (!Array.isArray(result)) return { kind: 'left', busy: UNKNOWN_BUSY }
      return { kind: 'left', busy: { short: result[1] as Dimension, retryAfterMs: Number(result[2]) } }
    })
  }

  tick(): Promise<Reply<never>> {
    return this.#call(SCRIPTS.tick, [], never)
  }

  drain(): Promise<Reply<never>> {
    return this.#call(SCRIPTS.drain, [], never)
  }

  report(news: PoolNews[]): Promise<Reply<Report>> {
    return this.#call(SCRIPTS.report, newsArgs(news), readReport)
  }

  /** Whether the lease was this gateway's still. */
  steer(steering: Steering): Promise<Reply<boolean>> {
    return this.#call(SCRIPTS.steer, steeringArgs(steering), result => result === 1)
  }

  configure(settings: RoomSettings): Promise<Reply<boolean>> {
    const { pools, burstShare, maxWaiting, maxWaitingPerClient, failures } = settings
    const quota = (perMinute: number | undefined) => perMinute ?? ''
    const args = [
      burstShare,
      maxWaiting,
      maxWaitingPerClient,
      this.#link.publishCommand,
      failures ?? '',
      ...pools.flatMap((pool: { name: string } & PoolQuota) => [
        pool.name,
        quota(pool.requestsPerMinute),
        quota(pool.tokensPerMinute),
      ]),
    ]
    return this.#call(SCRIPTS.configure, [JSON.stringify(args), ...args], result => result === 1)
  }

  async status(mostFlows: number): Promise<RoomSnapshot> {
    return readSnapshot(await this.#run(SCRIPTS.status, [mostFlows]))
  }

  async #call<Result>(
    script: Script,
    args: (string | number)[],
    read: (result: ScriptReply) => Result,
  ): Promise<Reply<Result>> {
    const reply = await this.#run(script, args)
    if (!Array.isArray(reply)) throw new RedisFault('reply', `${script.name}: expected a list, found ${typeof reply}`)
    const [napMs, results, grants] = reply
    if (typeof napMs !== 'number' || !Array.isArray(results) || !Array.isArray(grants))
      throw new RedisFault('reply', `${script.name}: expected a number and two lists`)
    return { napMs: napMs < 0 ? undefined : napMs, results: results.map(read), grants: pairs(grants) }
  }

  async #run(script: Script, args: (string | number)[]): Promise<ScriptReply> {
    const ended = this.#observe(script.name)
    let ok = false
    try {
      const reply = await this.#link.run(script, this.#keys, [NOW, this.#gateway, ...args])
      ok = true
      return reply
    } finally {
      ended(ok)
    }
  }
}

function standing(result: ScriptReply): Standing {
  const [kind, second, third, fourth] = result as [string, ScriptReply, ScriptReply, ScriptReply]
  if (kind === 'granted') return { kind, pool: String(second) }
  if (kind === 'waiting') return { kind, etaMs: Number(second) }
  if (kind === 'unknown') return { kind }
  if (kind !== 'refused') throw new RedisFault('reply', `expected a standing, found ${kind}`)
  const busy = { short: third as Dimension, retryAfterMs: Number(fourth) }
  return { kind: 'refused', code: second as AdmissionCode, busy }
}

function never(): never {
  throw new RedisFault('reply', 'expected no results')
}

function pairs(flat: ScriptReply[]): { ticketId: string; pool: string }[] {
  const grants: { ticketId: string; pool: string }[] = []
  for (let at = 0; at < flat.length; at += 2) grants.push({ ticketId: String(flat[at]), pool: String(flat[at + 1]) })
  return grants
}
