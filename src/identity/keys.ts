// Sluice keys: how one is made, and which client holds the one that is presented. Kept as SHA-256 alone: 256 bits of chance
// cannot be guessed from their hash, so no slow hash is needed.
import { hash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Secret scanners know a key by it. */
export const KEY_PREFIX = 'sluice_'
const KEY_BYTES = 32
/** No AWS access key id begins like this (theirs do with AKIA, ASIA and the like), and every SDK signs with it. */
const ACCESS_KEY_PREFIX = 'SLUICE'
/** As long as one of AWS. */
const ACCESS_KEY_CHARS = 20
/** 40 characters, as one of AWS. */
const SECRET_BYTES = 30
/** As in access key ids of AWS; 32 of them, so each takes 5 bits of a byte. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
/** A key of one's own making is not longer. */
const LONGEST_KEY = 512
const BEARER = /^Bearer +(\S+) *$/i

/** So many bytes of chance, fit for secrets. */
export type Chance = (bytes: number) => Buffer

export function newKey(chance: Chance): string {
  return KEY_PREFIX + chance(KEY_BYTES).toString('base64url')
}

export function newSigningKey(chance: Chance): { accessKeyId: string; secret: string } {
  const id = Array.from(chance(ACCESS_KEY_CHARS - ACCESS_KEY_PREFIX.length), byte => BASE32[byte & 31]).join('')
  return { accessKeyId: ACCESS_KEY_PREFIX + id, secret: chance(SECRET_BYTES).toString('base64url') }
}

/** What the config holds of a key. */
export function keySha256(key: string): string {
  return hash('sha256', key, 'hex')
}

/** What a key is shown as where its user has no other name. */
export function keyUser(sha256: string): string {
  return `key-${sha256.slice(0, 12)}`
}

/** A bearer, else an x-api-key: where both are sent the bearer alone decides. Undefined: neither. */
export function credentialOf({ authorization, 'x-api-key': apiKey }: IncomingHttpHeaders): string | undefined {
  const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
  return bearer ?? ((Array.isArray(apiKey) ? apiKey[0] : apiKey) || undefined)
}

export interface Holder {
  client: string
  /** The key itself, as in `open` mode: the log tells which of a client's keys are still in use. */
  user: string
}

/**
 * Found by the first half of the key's SHA-256, decided by a comparison of all of it in constant time. How long the search
 * takes tells at most of that half of a hash, which nobody can steer and from which no key can be found.
 */
export class KeyRing {
  readonly #holders = new Map<string, Holder & { digest: Buffer }>()

  /** Hashes as hexadecimal digits. */
  constructor(keys: { client: string; sha256: string }[]) {
    for (const { client, sha256 } of keys) {
      const digest = Buffer.from(sha256, 'hex')
      this.#holders.set(halfOf(digest), { digest, client, user: keyUser(sha256.toLowerCase()) })
    }
  }

  /** Undefined: nobody. */
  holderOf(key: string): Holder | undefined {
    if (key.length > LONGEST_KEY) return undefined
    const digest = hash('sha256', key, 'buffer')
    const holder = this.#holders.get(halfOf(digest))
    return holder && timingSafeEqual(digest, holder.digest) ? holder : undefined
  }
}

function halfOf(digest: Buffer): string {
  return digest.toString('latin1', 0, 16)
}
