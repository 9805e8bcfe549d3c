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
import { ProvenCredentials } from './provenCredentials.ts'

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

/** Nothing was guessed: no credential, one that was right once, or nobody who could tell. */
const NO_GUESS: ReadonlySet<RefusalCode> = new Set([
  'no-credentials',
  'expired-token',
  'unconfirmed-key',
  'identity-unavailable',
])

export class IngressGuard {
  readonly #requests: AddressLimiter | undefined
  readonly #failures: AddressLimiter | undefined
  readonly #proven = new ProvenCredentials()
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

  /** Its credential, this client's, was right. */
  proved(presented: Presented, client: string): void {
    if (!this.#failures || !this.#asks()) return
    const key = provenKey(presented)
    if (key !== undefined) this.#proven.prove(key, `${addressOf(presented)} ${client}`)
  }

  /** It was right before, from this address, and whoever named it from there since was right as well. */
  wasProven(presented: Presented): boolean {
    const key = provenKey(presented)
    return key !== undefined && this.#proven.isUndisputed(key)
  }

  /** … was refused. Counted when it resolves; undefined: there is nothing to count. */
  failed(presented: Presented, { code }: Refusal): Promise<unknown> | undefined {
    if (!this.#failures || NO_GUESS.has(code)) return undefined
    this.#doubt(presented, code)
    const address = addressOf(presented)
    // Whoever is looked at behind a shut door costs Redis nothing either.
    return this.#failures.overMs(address) === undefined ? this.#failures.count(address) : undefined
  }

  /**
   * A secret that is wrong now is right no more. A signature says of its key only that somebody knows the id, which travels in
   * clear text: its owner must not be shut out by whoever writes it down.
   */
  #doubt(presented: Presented, code: RefusalCode): void {
    const key = provenKey(presented)
    if (key === undefined) return
    if (presented.shown?.kind === 'signature' && code !== 'unknown-key') this.#proven.dispute(key)
    else this.#proven.forget(key)
  }

  #shut(presented: Presented): Refusal | undefined {
    if (!this.#failures?.someAreOver || !this.#asks()) return undefined
    const overMs = this.#failures.overMs(addressOf(presented))
    if (overMs === undefined) return undefined
    const key = provenKey(presented)
    return key !== undefined && this.#proven.has(key) ? undefined : tooManyFailures(overMs)
  }
}

/** A connection that is gone has no address; all such count as one. */
function addressOf({ address }: Presented): string {
  return address === undefined ? 'unknown' : subscriberOf(address)
}

/** Its credential, bound to its address; of a secret its digest. Undefined: it has none that could be known again. */
function provenKey(presented: Presented): string | undefined {
  const { shown } = presented
  if (shown === undefined) return undefined
  const at = addressOf(presented)
  // Of each kind by itself: a bearer that spells an access key id is not its owner.
  if (shown.kind === 'secret') return `${hash('sha256', shown.text, 'base64')} ${at}`
  return shown.accessKeyId === undefined ? undefined : `signature ${shown.accessKeyId} ${at}`
}

function addressLimit(retryAfterMs: number): Refusal {
  const message = 'Too many requests from this address, please wait before trying again.'
  return { code: 'address-limit', message, retryAfterMs }
}

function tooManyFailures(retryAfterMs: number): Refusal {
  const message = 'Too many wrong credentials from this address, please wait before trying again.'
  return { code: 'too-many-failures', message, retryAfterMs }
}
