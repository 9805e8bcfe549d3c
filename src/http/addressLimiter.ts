// How often an address did something in the last minute, by @fastify/rate-limit: in this process, or in Redis for all gateways
// together. Who is over is remembered here until its minute ends, so that a flood costs neither Redis nor a promise. While
// Redis is away, or does not answer in time, this process counts on its own: nobody is refused for that, and nobody waits
// longer than a command may take.
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Clock } from '../domain/clock.ts'
import type { AddressCounts } from '../gateway/limitPorts.ts'
import { LatestMap } from './latestMap.ts'

export interface AddressLimiterParts {
  /** What is counted; unlike any other limiter's. */
  name: string
  /** In a minute. The one after it is over. */
  max: number
  /** Absent: counted in this process. */
  shared?: AddressCounts | undefined
  clock: Clock
}

type Count = ReturnType<FastifyInstance['createRateLimit']>

const WINDOW_MS = 60_000
/** The addresses counted at a time: whoever was counted longest ago is forgotten, and begins anew. */
const MAX_ADDRESSES = 10_000
/** Requests that wait for Redis at a time. While it is slow, those beyond them are counted here alone and do not wait. */
const MOST_ASKING = 1_024

export class AddressLimiter {
  readonly #parts: AddressLimiterParts
  /** Until when, by address. */
  readonly #over = new LatestMap<number>(MAX_ADDRESSES)
  #own: Count | undefined
  #shared: Count | undefined
  #asking = 0

  constructor(parts: AddressLimiterParts) {
    this.#parts = parts
  }

  /** Before the first count. */
  async install(app: FastifyInstance): Promise<void> {
    const { name, max, shared } = this.#parts
    const plain = { global: false, max, timeWindow: WINDOW_MS, keyGenerator: (request: FastifyRequest) => request.ip }
    this.#own = await countOf(app, { ...plain, cache: MAX_ADDRESSES })
    if (shared) this.#shared = await countOf(app, { ...plain, redis: shared.commands, nameSpace: `${name}:` })
  }

  /** Nobody is over most of the time: cheap to ask for every request. */
  get someAreOver(): boolean {
    return this.#over.size > 0
  }

  /** How long it still is over, in milliseconds; undefined: it is not. */
  overMs(address: string): number | undefined {
    const untilMs = this.#over.get(address)
    if (untilMs === undefined) return undefined
    const leftMs = untilMs - this.#parts.clock.nowMs()
    // More than a minute: the clock was set back.
    if (leftMs > 0 && leftMs <= WINDOW_MS) return leftMs
    this.#over.delete(address)
    return undefined
  }

  /** Counts one more; as `overMs`, with it. Never rejects. */
  async count(address: string): Promise<number | undefined> {
    const request = { ip: address, routeOptions: {} } as FastifyRequest
    const counted = (await this.#countShared(request)) ?? (await this.#own?.(request))
    if (!counted || counted.isAllowed || !counted.isExceeded) return undefined
    const leftMs = Math.min(Math.max(counted.ttl, 1), WINDOW_MS)
    this.#over.set(address, this.#parts.clock.nowMs() + leftMs)
    return leftMs
  }

  async #countShared(request: FastifyRequest): Promise<Awaited<ReturnType<Count>> | undefined> {
    if (!this.#shared || !this.#parts.shared?.isUp || this.#asking >= MOST_ASKING) return undefined
    this.#asking += 1
    const counted = await this.#shared(request).catch(() => undefined)
    this.#asking -= 1
    return counted
  }
}

/** The plugin has one store for each scope it is registered in. */
async function countOf(app: FastifyInstance, options: Parameters<typeof rateLimit>[1]): Promise<Count> {
  let count: Count | undefined
  await app.register(async scope => {
    await scope.register(rateLimit, options)
    count = scope.createRateLimit()
  })
  return count!
}
