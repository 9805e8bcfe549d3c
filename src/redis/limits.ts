// Clients' limits as all gateways count them together, one script a call. While Redis is away each gateway counts alone and
// lets the whole limit through, not a part of it: a limit keeps clients from each other, Bedrock's quotas are kept elsewhere,
// and a client with one connection is at one gateway. What a settlement lost with Redis would have given back is there again
// within a minute, and a place that nobody frees within a lease.
import type { Clock } from '../domain/clock.ts'
import { chargeOf, type Denial, type Levels, type LimitSettings, wholeTokens } from '../domain/limits/clientLimits.ts'
import type { Algorithm } from '../domain/limits/meter.ts'
import type { Admission, ClientLimits } from '../gateway/limitPorts.ts'
import { Batch, parts } from './batch.ts'
import type { RedisLink } from './connection.ts'
import { clientPrefix } from './keys.ts'
import { LIMIT_SCRIPTS } from './limitScripts.ts'
import type { Script, ScriptReply } from './script.ts'

export interface RedisClientLimitsParts {
  link: RedisLink
  /** Counts while Redis is away. */
  standIn: ClientLimits
  clock: Clock
  /** Runs the task at the end of this turn of the event loop. */
  soon: (task: () => void) => void
  /** Told of each call to Redis that has ended. */
  onCall?: (call: string, ms: number, ok: boolean) => void
  /** Redis's own time when absent; for tests. */
  nowMs?: () => number
}

/** A place in flight is kept so long after its gateway was last heard. */
export const LEASE_MS = 30_000
const RENEW_MS = 10_000

/** What a script is told of a call that has ended; see settle.lua. */
type Settlement = [id: string, limit: number | '', stamp: number, reserved: number, charged: number]

export class RedisClientLimits implements ClientLimits {
  readonly #parts: RedisClientLimitsParts
  /** By client and algorithm. */
  readonly #settlements = new Map<string, Batch<Settlement>>()
  /** Calls of clients with a bound on them, by client. */
  readonly #inFlight = new Map<string, Set<string>>()
  #cancelRenewal: (() => void) | undefined

  constructor(parts: RedisClientLimitsParts) {
    this.#parts = parts
  }

  async take(client: string, settings: LimitSettings, tokens: number, id: string): Promise<Admission> {
    const { link, standIn } = this.#parts
    if (!link.isUp) return standIn.take(client, settings, tokens, id)
    const { algorithm, requestsPerMinute = '', tokensPerMinute = '', concurrent = '' } = settings
    const reserved = wholeTokens(tokens)
    const args = [requestsPerMinute, tokensPerMinute, reserved, concurrent, id, LEASE_MS]
    const reply = await this.#run(LIMIT_SCRIPTS.take[algorithm], client, args).catch(() => undefined)
    if (!Array.isArray(reply)) return standIn.take(client, settings, tokens, id)
    const levels = levelsOf(settings, reply)
    const denial = denialOf(reply)
    if (denial) return { kind: 'refused', denial, levels }
    if (concurrent !== '') this.#lease(client, id)
    const stamp = Number(reply[2])
    return {
      kind: 'allowed',
      levels,
      end: chargedTokens => {
        const charged = chargeOf(chargedTokens, reserved, settings.tokensPerMinute ?? 0)
        const isMetered = tokensPerMinute !== '' && reserved > 0
        if (concurrent === '' && !isMetered) return
        this.#release(client, id)
        this.#batch(client, algorithm).add([id, isMetered ? tokensPerMinute : '', stamp, reserved, charged])
      },
    }
  }

  keep(clients: ReadonlySet<string>): void {
    this.#parts.standIn.keep(clients)
    // What is in a batch goes out all the same.
    for (const key of this.#settlements.keys())
      if (!clients.has(key.slice(key.indexOf(' ') + 1))) this.#settlements.delete(key)
  }

  async close(): Promise<void> {
    this.#cancelRenewal?.()
    await this.#parts.standIn.close()
    const batches = [...this.#settlements.values()]
    for (const batch of batches) batch.flush()
    await Promise.all(batches.map(batch => batch.answered()))
  }

  #batch(client: string, algorithm: Algorithm): Batch<Settlement> {
    const key = `${algorithm} ${client}`
    let batch = this.#settlements.get(key)
    if (!batch) {
      const script = LIMIT_SCRIPTS.settle[algorithm]
      batch = new Batch(this.#parts.soon, settlements => this.#try(script, client, settlements.flat()))
      this.#settlements.set(key, batch)
    }
    return batch
  }

  #lease(client: string, id: string): void {
    const ids = this.#inFlight.get(client)
    if (ids) ids.add(id)
    else this.#inFlight.set(client, new Set([id]))
    if (!this.#cancelRenewal) this.#renewLater()
  }

  #release(client: string, id: string): void {
    const ids = this.#inFlight.get(client)
    if (ids?.delete(id) && ids.size === 0) this.#inFlight.delete(client)
  }

  /** One timer, while anything is in flight. */
  #renewLater(): void {
    this.#cancelRenewal = this.#parts.clock.after(RENEW_MS, () => {
      this.#cancelRenewal = undefined
      if (this.#inFlight.size === 0) return
      for (const [client, ids] of this.#inFlight)
        for (const some of parts([...ids])) void this.#try(LIMIT_SCRIPTS.renew, client, [LEASE_MS, ...some])
      this.#renewLater()
    })
  }

  async #try(script: Script, client: string, args: (string | number)[]): Promise<void> {
    if (this.#parts.link.isUp) await this.#run(script, client, args).catch(() => {})
  }

  async #run(script: Script, client: string, args: (string | number)[]): Promise<ScriptReply> {
    const { link, clock, onCall, nowMs } = this.#parts
    const beganMs = clock.nowMs()
    let ok = false
    try {
      const reply = await link.run(script, [clientPrefix(client)], [nowMs?.() ?? '', ...args])
      ok = true
      return reply
    } finally {
      onCall?.(`limits-${script.name}`, Math.max(0, clock.nowMs() - beganMs), ok)
    }
  }
}

function denialOf(reply: ScriptReply[]): Denial | undefined {
  const [over, retryAfterMs] = reply
  if (over === '') return undefined
  return { over: over as Denial['over'], retryAfterMs: retryAfterMs === -1 ? Infinity : Number(retryAfterMs) }
}

function levelsOf(settings: LimitSettings, reply: ScriptReply[]): Levels {
  const [requestsLeft, requestsMs, tokensLeft, tokensMs, callsLeft] = reply.slice(3).map(Number)
  return {
    ...(settings.requestsPerMinute !== undefined && { requests: { remaining: requestsLeft!, resetMs: requestsMs! } }),
    ...(settings.tokensPerMinute !== undefined && { tokens: { remaining: tokensLeft!, resetMs: tokensMs! } }),
    ...(settings.concurrent !== undefined && { concurrent: { remaining: callsLeft! } }),
  }
}
