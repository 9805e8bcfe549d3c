// The identity provider's public keys (a JWKS), from a file or by URL. Those from a URL are fetched when a token asks for
// them, one fetch at a time, and known keys go on while the provider is away.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters, type LocalJWKSet } from 'jose'
import type { Clock } from '../domain/clock.ts'

export interface KeySet {
  /** Rejects with jose's JWKSNoMatchingKey, or with KeysAway. */
  keyFor(header: JWTHeaderParameters): Promise<Awaited<ReturnType<LocalJWKSet>>>
}

/** The keys cannot be had now, and it is not known whether the one that is wanted is among them. */
export class KeysAway extends Error {
  readonly retryAfterMs: number
  /** The provider answers, and is not asked again so soon. */
  readonly isUp: boolean

  constructor(retryAfterMs: number, isUp = false) {
    super('the keys of the identity provider cannot be had')
    this.retryAfterMs = retryAfterMs
    this.isUp = isUp
  }
}

/** `jwks` is a file's content, parsed. Throws jose's JWKSInvalid when it is no JWKS. */
export function fixedKeySet(jwks: unknown): KeySet {
  const keys = createLocalJWKSet(jwks as JSONWebKeySet)
  return { keyFor: header => keys(header) }
}

/** Known keys are fetched again, beside the requests, when they are older: one that was withdrawn is honoured so long. */
const FRESH_MS = 10 * 60_000
/** What is older than this is not believed any more, however long the provider is away. */
const LONGEST_KEPT_MS = 24 * 60 * 60_000
/** From one fetch to the next: tokens with made-up key ids must not become a flood at the provider. */
const COOLDOWN_MS = 10_000
const TIMEOUT_MS = 5_000
const MOST_BYTES = 512 * 1024
/** Key ids remembered that the provider did not have; the one forgotten too early waits for one more fetch. */
const MOST_MISSED = 1_000
const LONGEST_KID = 256

export interface RemoteKeySetParts {
  url: string
  clock: Clock
  /** Told what went wrong with each fetch that failed. */
  onTrouble: (reason: string) => void
}

export class RemoteKeySet implements KeySet {
  readonly #parts: RemoteKeySetParts
  #keys: LocalJWKSet | undefined
  #fetchedMs = Number.NEGATIVE_INFINITY
  #triedMs = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined
  /** Fetches begun, and which of them brought the keys. */
  #begun = 0
  #brought = 0
  /** By key id, how many fetches had begun when a token first named it in vain. */
  readonly #missed = new Map<string, number>()

  constructor(parts: RemoteKeySetParts) {
    this.#parts = parts
  }

  async keyFor(header: JWTHeaderParameters): ReturnType<KeySet['keyFor']> {
    const begun = this.#begun
    const ageMs = this.#since(this.#fetchedMs)
    if (!this.#keys || ageMs > LONGEST_KEPT_MS) await this.#refresh()
    else if (ageMs > FRESH_MS && this.#mayFetch) this.#refresh().catch(() => {})
    try {
      return await this.#keys!(header)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      const answered = this.#triedMs === this.#fetchedMs
      if (answered && !this.#fetching && !this.#mayFetch)
        throw this.#isMissing(header, begun) ? error : this.#askLater()
      const refreshed = this.#refresh()
      if (!answered) {
        // Made-up keys must not hold the places of those whose keys are known for as long as each fetch is in vain.
        refreshed.catch(() => {})
        if (this.#fetching) throw new KeysAway(TIMEOUT_MS)
      }
      await refreshed
      return this.#keys!(header).catch(other => {
        throw this.#isMissing(header, begun) ? other : this.#askLater()
      })
    }
  }

  /**
   * Whether the provider was asked after the key id was first named, and does not have it. Else it may be a key that has just
   * been published: who signs with it must not be taken for somebody who guesses, whoever had the last fetch made.
   */
  #isMissing(header: JWTHeaderParameters, begun: number): boolean {
    // A stranger's header: it may be anything.
    const kid: unknown = header.kid ?? ''
    if (typeof kid !== 'string' || kid.length > LONGEST_KID) return true
    const before = this.#missed.get(kid) ?? begun
    if (!this.#missed.has(kid)) {
      if (this.#missed.size >= MOST_MISSED) this.#missed.delete(this.#missed.keys().next().value!)
      this.#missed.set(kid, before)
    }
    return this.#brought > before
  }

  #askLater(): KeysAway {
    return new KeysAway(Math.max(0, COOLDOWN_MS - this.#since(this.#triedMs)), true)
  }

  /** Of a clock that was set back, nothing is known: as if the time were over. */
  #since(thenMs: number): number {
    const passedMs = this.#parts.clock.nowMs() - thenMs
    return passedMs < 0 ? Infinity : passedMs
  }

  get #mayFetch(): boolean {
    return this.#since(this.#triedMs) >= COOLDOWN_MS
  }

  /** Resolves once the keys have just been fetched; whoever comes meanwhile waits for the same fetch. */
  async #refresh(): Promise<void> {
    if (!this.#fetching) {
      if (!this.#mayFetch) throw new KeysAway(COOLDOWN_MS - this.#since(this.#triedMs))
      this.#fetching = this.#fetch().finally(() => {
        this.#fetching = undefined
      })
    }
    await this.#fetching
  }

  async #fetch(): Promise<void> {
    const { url, clock, onTrouble } = this.#parts
    const number = ++this.#begun
    const given = new AbortController()
    const cancel = clock.after(TIMEOUT_MS, () => given.abort(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    try {
      this.#keys = createLocalJWKSet(await fetchJson(url, given.signal))
      this.#triedMs = this.#fetchedMs = clock.nowMs()
      this.#brought = number
    } catch (error) {
      this.#triedMs = clock.nowMs()
      onTrouble(reasonOf(error))
      throw new KeysAway(COOLDOWN_MS)
    } finally {
      cancel()
    }
  }
}

/** Rejects on anything but a 200 with JSON of a bounded size. A redirect is an error: the config says where the keys are. */
async function fetchJson(url: string, signal: AbortSignal): Promise<JSONWebKeySet> {
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`status ${response.status}`)
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MOST_BYTES) throw new Error(`more than ${MOST_BYTES} bytes`)
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as JSONWebKeySet
}

/** `fetch` hides why behind "fetch failed". */
function reasonOf(error: unknown): string {
  const { cause } = error as Error
  return cause instanceof Error ? cause.message : (error as Error).message
}
