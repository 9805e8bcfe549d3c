// Tokens of an identity provider: signature, issuer, audience and time are verified, and their claims say which client asks,
// for whom, and in which class. A verified token is remembered for a while, so that a request costs a hash and a look-up.
import { hash } from 'node:crypto'
import { errors, type JWTPayload, jwtVerify } from 'jose'
import type { Clock } from '../domain/clock.ts'
import { PRIORITIES, type Priority } from '../domain/model.ts'
import { type KeySet, KeysAway } from './keySet.ts'
import { type Denied, denied, type Known, UNKNOWN_KEY, type Who } from './who.ts'

export interface JwtSettings {
  issuer: string
  /** One of them must be in the claim `audienceClaim`. */
  audience: string[]
  audienceClaim: string
  /** Asymmetric ones alone. */
  algorithms: string[]
  clockSkewS: number
  /** The first of them that a token has says which client asks. */
  clientClaim: string[]
  userClaim: string
  priorityClaim?: string | undefined
}

export interface TokensParts {
  settings: JwtSettings
  keys: KeySet
  /** The client that a client claim names. */
  clientOf: (claim: string) => string | undefined
  clock: Clock
}

/** Tokens with many groups run to some KB. */
const LONGEST_TOKEN = 16 * 1024
/** A token that its provider has called back is honoured so long. */
const LONGEST_KEPT_MS = 60_000
const MOST_KEPT = 10_000
/**
 * Requests whose token is being verified, or waits for the provider's keys. Each holds its headers, some 14 KB with those of
 * SDKs: a provider that hangs costs 15 MB. A gateway that has just started and takes 2,000 requests a second fills half of it
 * while the keys come.
 */
export const MOST_WAITING = 1_024
const BUSY_RETRY_MS = 1_000
/** In logs and /status: without control characters, and whole in Unicode. */
const NAME = /^[^\p{Cc}\p{Cs}]{1,256}$/u
const TOKEN_SHAPE = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/

/** A Sluice key has no dots. */
export function looksLikeToken(credential: string): boolean {
  return credential.startsWith('eyJ') && TOKEN_SHAPE.test(credential)
}

export class Tokens {
  readonly #parts: TokensParts
  /** By the token's SHA-256, oldest first. */
  readonly #kept = new Map<string, { who: Known; untilMs: number }>()
  /** A token that many requests bring at once is verified once. */
  readonly #verifying = new Map<string, Promise<Who>>()
  #waiting = 0

  constructor(parts: TokensParts) {
    this.#parts = parts
  }

  /** Requests, not tokens. */
  get waiting(): number {
    return this.#waiting
  }

  whoIs(token: string): Who | Promise<Who> {
    if (token.length > LONGEST_TOKEN) return UNKNOWN_KEY
    const id = hash('sha256', token, 'base64')
    const kept = this.#kept.get(id)
    if (kept && this.#parts.clock.nowMs() < kept.untilMs) return kept.who
    this.#kept.delete(id)
    if (this.#waiting >= MOST_WAITING) return unavailable('Too many tokens are being verified', BUSY_RETRY_MS)
    this.#waiting += 1
    return (this.#verifying.get(id) ?? this.#begin(token, id)).finally(() => {
      this.#waiting -= 1
    })
  }

  #begin(token: string, id: string): Promise<Who> {
    const verifying = this.#verify(token, id).finally(() => this.#verifying.delete(id))
    this.#verifying.set(id, verifying)
    return verifying
  }

  async #verify(token: string, id: string): Promise<Who> {
    const { settings, keys, clock } = this.#parts
    try {
      const { payload } = await jwtVerify(token, header => keys.keyFor(header), {
        algorithms: settings.algorithms,
        issuer: settings.issuer,
        clockTolerance: settings.clockSkewS,
        requiredClaims: ['exp'],
        currentDate: new Date(clock.nowMs()),
      })
      const who = this.#whoClaims(payload)
      if (who.kind === 'known') this.#keep(id, who, (payload.exp! + settings.clockSkewS) * 1000)
      return who
    } catch (error) {
      return refusalOf(error)
    }
  }

  /** Of a token whose signature, issuer and time are right. */
  #whoClaims(payload: JWTPayload): Who {
    const { settings, clientOf } = this.#parts
    const audience = [payload[settings.audienceClaim]].flat()
    if (!settings.audience.some(one => audience.includes(one))) return wrong(`its ${settings.audienceClaim} is another`)
    const clientClaim = settings.clientClaim.find(name => payload[name] !== undefined)
    const named = clientClaim && payload[clientClaim]
    if (typeof named !== 'string') return wrong(`it has no ${settings.clientClaim.join(' or ')}`)
    const client = clientOf(named)
    if (client === undefined) return wrong(`no client is called what its ${clientClaim} says`)
    const priority = settings.priorityClaim ? priorityOf(payload[settings.priorityClaim]) : undefined
    const classes = priority && { priority, maxPriority: priority }
    const user = payload[settings.userClaim]
    if (user === undefined) return { kind: 'known', client, user: client, ...classes }
    // Never the header instead: who has a token that names somebody is that one, or nobody.
    if (!isName(user)) return wrong(`its ${settings.userClaim} is no name`)
    return { kind: 'known', client, user: String(user), isUserProven: true, ...classes }
  }

  #keep(id: string, who: Known, expiresMs: number): void {
    if (this.#kept.size >= MOST_KEPT) this.#kept.delete(this.#kept.keys().next().value!)
    this.#kept.set(id, { who, untilMs: Math.min(expiresMs, this.#parts.clock.nowMs() + LONGEST_KEPT_MS) })
  }
}

function isName(value: unknown): value is string | number {
  return typeof value === 'number' || (typeof value === 'string' && NAME.test(value))
}

/** Any other word is left unread: a claim made for other services must not lock anybody out of this one. */
function priorityOf(value: unknown): Priority | undefined {
  return PRIORITIES.find(priority => typeof value === 'string' && value.toLowerCase() === priority)
}

function refusalOf(error: unknown): Denied {
  if (error instanceof KeysAway) {
    const { isUp, retryAfterMs } = error
    if (!isUp) return unavailable('The identity provider cannot be reached', retryAfterMs)
    const message = 'The key of this token is not known yet, please wait before trying again.'
    return denied({ code: 'unconfirmed-key', message, retryAfterMs })
  }
  if (error instanceof errors.JWTExpired)
    return denied({ code: 'expired-token', message: 'The security token included in the request is expired' })
  // jose looks at claims only once the signature is right, so that whoever made it may be told what is wrong with them.
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error
    if (reason === 'missing') return wrong(`it has no ${claim}`)
    return wrong(claim === 'nbf' ? 'it is not valid yet' : `its ${claim} is another`)
  }
  // Whatever a stranger's bytes are made to look like, they are no fault of ours.
  return UNKNOWN_KEY
}

function wrong(what: string): Denied {
  return denied({ code: 'unknown-key', message: `${UNKNOWN_KEY.refusal.message.slice(0, -1)}: ${what}.` })
}

function unavailable(what: string, retryAfterMs: number): Denied {
  const message = `${what}, please wait before trying again.`
  return denied({ code: 'identity-unavailable', message, retryAfterMs })
}
