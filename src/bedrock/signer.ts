// Signature Version 4 as Bedrock checks it. The canonical request and the key derivation are @smithy/signature-v4's; the
// hashes around them are node's one-shot ones, because the library's own signing of a request costs a third of all the
// time a request takes here (docs/decisions/0003-signing.md). Only what must be signed is: host, date, payload hash and
// session token. Everything else may pass untouched.
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { createScope, getCanonicalHeaders, getSigningKey, SignatureV4Base } from '@smithy/signature-v4'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface SignerSettings {
  credentials: () => Promise<Credentials>
  region: string
  service: string
}

/** What is signed. `rawPath` is the path as it goes on the wire: each segment is escaped once more in the canonical request. */
export interface Signable {
  method: string
  host: string
  rawPath: string
  rawQuery: string
  body: Buffer
}

/** The headers to add, flat: host, x-amz-content-sha256, x-amz-date, the token if there is one, and authorization. */
export type Sign = (request: Signable, nowMs: number) => Promise<string[]>

const ALGORITHM = 'AWS4-HMAC-SHA256'

export function createSigner(settings: SignerSettings): Sign {
  const signer = new RequestSigner(settings)
  return async (request, nowMs) => {
    const credentials = await settings.credentials()
    const date = signer.dateOf(nowMs)
    const key = signer.knownKey(credentials, date.shortDate) ?? (await signer.deriveKey(credentials, date.shortDate))
    return signer.sign(request, credentials, date, key)
  }
}

interface SigningDate {
  longDate: string
  shortDate: string
}

class RequestSigner extends SignatureV4Base {
  readonly #region: string
  #latest: { second: number; date: SigningDate } | undefined
  /** The latest key: it changes once a day, and with the credentials. */
  #derived: { secret: string; accessKeyId: string; shortDate: string; key: KeyObject } | undefined

  constructor({ credentials, region, service }: SignerSettings) {
    super({ credentials, region, service, sha256: NativeSha256 })
    this.#region = region
  }

  /** Signatures carry whole seconds, so one is spelt out once. */
  dateOf(nowMs: number): SigningDate {
    const second = Math.floor(nowMs / 1000)
    if (this.#latest?.second !== second) this.#latest = { second, date: this.formatDate(new Date(nowMs)) }
    return this.#latest.date
  }

  knownKey(credentials: Credentials, shortDate: string): KeyObject | undefined {
    const known = this.#derived
    if (known?.shortDate !== shortDate || known.accessKeyId !== credentials.accessKeyId) return undefined
    return known.secret === credentials.secretAccessKey ? known.key : undefined
  }

  async deriveKey(credentials: Credentials, shortDate: string): Promise<KeyObject> {
    const { accessKeyId, secretAccessKey: secret } = credentials
    const bytes = await getSigningKey(NativeSha256, credentials, shortDate, this.#region, this.service)
    const key = createSecretKey(bytes)
    this.#derived = { secret, accessKeyId, shortDate, key }
    return key
  }

  sign(request: Signable, credentials: Credentials, date: SigningDate, key: KeyObject): string[] {
    const payloadHash = hash('sha256', request.body, 'hex')
    const headers: Record<string, string> = {
      host: request.host,
      'x-amz-content-sha256': payloadHash,
      'x-amz-date': date.longDate,
    }
    if (credentials.sessionToken) headers['x-amz-security-token'] = credentials.sessionToken
    const { method, host, rawPath, rawQuery } = request
    const described = {
      method,
      protocol: 'https:',
      hostname: host,
      path: rawPath,
      query: decodeQuery(rawQuery),
      headers,
    }
    const canonicalHeaders = getCanonicalHeaders(described)
    const canonical = this.createCanonicalRequest(described, canonicalHeaders, payloadHash)
    const scope = createScope(date.shortDate, this.#region, this.service)
    const toSign = `${ALGORITHM}\n${date.longDate}\n${scope}\n${hash('sha256', canonical, 'hex')}`
    const signature = createHmac('sha256', key).update(toSign).digest('hex')
    const signedHeaders = this.getCanonicalHeaderList(canonicalHeaders)
    const flat = Object.entries(headers).flat()
    flat.push(
      'authorization',
      `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
    )
    return flat
  }
}

/** For the derivation of a key, once a day. */
class NativeSha256 {
  readonly #secret: string | Uint8Array
  #data: Uint8Array = new Uint8Array(0)

  constructor(secret: string | ArrayBuffer | ArrayBufferView = '') {
    if (typeof secret === 'string') this.#secret = secret
    else if (ArrayBuffer.isView(secret))
      this.#secret = new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    else this.#secret = new Uint8Array(secret)
  }

  update(data: Uint8Array): void {
    this.#data = data
  }

  async digest(): Promise<Uint8Array> {
    return createHmac('sha256', this.#secret).update(this.#data).digest()
  }

  reset(): void {
    this.#data = new Uint8Array(0)
  }
}

/** Decoded names and values; '+' is a plus, as SigV4 reads it. A malformed escape stays as it is: AWS will refuse it. */
export function decodeQuery(rawQuery: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null)
  for (const pair of rawQuery.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = decode(at < 0 ? pair : pair.slice(0, at))
    const value = at < 0 ? '' : decode(pair.slice(at + 1))
    const earlier = query[name]
    query[name] = earlier === undefined ? value : [earlier, value].flat()
  }
  return query
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
