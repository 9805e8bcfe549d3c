// The guard in front of identity. One address has so many requests a minute, and so many wrong credentials: after those,
// nothing from there is looked at any more until the minute ends, except credentials that were proven there before, so that
// a wrong app behind the same NAT or load balancer does not lock out the right ones.
import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../domain/clock.ts'
import type { Refusal, RefusalCode } from '../domain/refusal.ts'
import type { AddressCounts } from '../gateway/limitPorts.ts'
import type { Presented } from '../identity/who.ts'
import { AddressLimiter } from './addressLimiter.ts'
import { subscriberOf } from './clientAddress.ts'
import { LatestMap } from './latestMap.ts'

export interface IngressGuardParts {
  /** Absent: no limit. */
  requestsPerMinute?: number | undefined
  /** Absent: no limit. */
  failedIdentitiesPerMinute?: number | undefined
  /** Whether credentials are asked for, as the settings are now: else there is nothing to guess. */
  asks: () => boolean
  /** Where all gateways count together; absent: each counts on its own. */
  shared?: AddressCounts | undefined
  clock: Clock
}

/** Credentials remembered, each with the address it was proven from; the one used longest ago is forgotten. */
const MAX_PROVEN = 10_000
/** The access key id of a SigV4 header: its signature is another with each request. */
const ACCESS_KEY_ID = /^AWS4-HMAC-SHA256\s.*?Credential=([^/,\s]{1,128})\//
/** Nothing was guessed: no credential, one that was right once, or nobody who could tell. */
const NO_GUESS: ReadonlySet<RefusalCode> = new Set(['no-credentials', 'expired-token', 'identity-unavailable'])

export class IngressGuard {
  readonly #requests: AddressLimiter | undefined
  readonly #failures: AddressLimiter | undefined
  readonly #proven = new LatestMap<true>(MAX_PROVEN)
  readonly #asks: () => boolean

  constructor({ requestsPerMinute, failedIdentitiesPerMinute, asks, shared, clock }: IngressGuardParts) {
    this.#asks = asks
    if (requestsPerMinute) {
      this.#requests = new AddressLimiter({ name: 'requests', max: requestsPerMinute, shared, clock })
    }
    if (failedIdentitiesPerMinute) {
      // The last failure that is looked at is already the one that shuts.
      this.#failures = new AddressLimiter({ name: 'failures', max: failedIdentitiesPerMinute - 1, shared, clock })
    }
  }

  /** Before the first request. */
  async install(app: FastifyInstance): Promise<void> {
    await this.#requests?.install(app)
    await this.#failures?.install(app)
  }

  /** Counts the request. undefined: it may go on. At once unless requests are limited. */
  admit(presented: Presented): Refusal | undefined | Promise<Refusal | undefined> {
    if (!this.#requests) return this.#shut(presented)
    const address = addressOf(presented)
    const overMs = this.#requests.overMs(address)
    if (overMs !== undefined) return addressLimit(overMs)
    return this.#requests.count(address).then(ms => (ms === undefined ? this.#shut(presented) : addressLimit(ms)))
  }

  /** Its credential was right. */
  proved(presented: Presented): void {
    if (!this.#failures || !this.#asks()) return
    const key = provenKey(presented)
    if (key !== undefined) this.#proven.set(key, true)
  }

  /** It was right before, from this address, and has not been wrong since. */
  wasProven(presented: Presented): boolean {
    const key = provenKey(presented)
    return key !== undefined && this.#proven.get(key) === true
  }

  /** … was refused. Counted when it resolves; undefined: there is nothing to count. */
  failed(presented: Presented, { code }: Refusal): Promise<unknown> | undefined {
    if (!this.#failures || NO_GUESS.has(code)) return undefined
    const key = provenKey(presented)
    if (key !== undefined) this.#proven.delete(key)
    return this.#failures.count(addressOf(presented))
  }

  #shut(presented: Presented): Refusal | undefined {
    if (!this.#failures?.someAreOver || !this.#asks()) return undefined
    const overMs = this.#failures.overMs(addressOf(presented))
    if (overMs === undefined) return undefined
    return this.wasProven(presented) ? undefined : tooManyFailures(overMs)
  }
}

/** A connection that is gone has no address; all such count as one. */
function addressOf({ address }: Presented): string {
  return address === undefined ? 'unknown' : subscriberOf(address)
}

/** All that could be its credential, as a digest bound to its address; undefined: it presents nothing. */
function provenKey(presented: Presented): string | undefined {
  const { authorization, 'x-api-key': apiKey } = presented.headers
  if (!authorization && !apiKey) return undefined
  const credential = ACCESS_KEY_ID.exec(authorization ?? '')?.[1] ?? `${authorization}\n${apiKey}`
  return `${hash('sha256', credential, 'base64')} ${addressOf(presented)}`
}

function addressLimit(retryAfterMs: number): Refusal {
  const message = 'Too many requests from this address, please wait before trying again.'
  return { code: 'address-limit', message, retryAfterMs }
}

function tooManyFailures(retryAfterMs: number): Refusal {
  const message = 'Too many wrong credentials from this address, please wait before trying again.'
  return { code: 'too-many-failures', message, retryAfterMs }
}
