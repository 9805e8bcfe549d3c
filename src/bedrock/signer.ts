// Signature Version 4 as Bedrock checks it. Every line of the canonical request and the key derivation are
// @smithy/signature-v4's; but a line is spelt once for as long as it stays the same, and the hashes around them are node's
// one-shot ones: the library's own signing of a request would cost more than all else Sluice does for it
// (docs/decisions/0003-signing.md). Only what must be signed is: host, date, payload hash and session token. Everything
// else may pass untouched.
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { createScope, getCanonicalHeaders, getSigningKey, SignatureV4Base } from '@smithy/signature-v4'
import { payloadHash } from '../wire/payloadHash.ts'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface SignerSettings {
  /** Asked anew with every second in which something is signed. */
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

/**
 * The headers to add, flat: host, x-amz-content-sha256, x-amz-date, the token if there is one, and authorization. At once,
 * but for the first in a second.
 */
export type Sign = (request: Signable, nowMs: number) => string[] | Promise<string[]>

const ALGORITHM = 'AWS4-HMAC-SHA256'
/** Openings of the canonical request kept, and the longest path among them: what clients ask for bounds no memory. */
const MAX_OPENINGS = 1_000
const MAX_OPENING_PATH = 500
/** Stands for the payload's hash in what is spelt ahead; no header holds it. */
const PAYLOAD_HASH = '\0'

export function createSigner(settings: SignerSettings): Sign {
  const signer = new RequestSigner(settings)
  return (request, nowMs) => {
    const second = Math.floor(nowMs / 1000)
    const seal = signer.sealOf(second)
    return seal ? signer.sign(request, seal) : signer.newSeal(second).then(fresh => signer.sign(request, fresh))
  }
}

/** What all signatures of one second share: they carry whole seconds. */
interface Seal {
  second: number
  credentials: Credentials
  key: KeyObject
  longDate: string
  /** Of the string to sign, all but the canonical request's hash. */
  toSign: string
  /** Of the authorization header, all before the list of signed headers. */
  credential: string
  byHost: { host: string; headers: SealedHeaders } | undefined
}

/** The canonical request after its opening, cut where the payload's hash goes in. */
interface SealedHeaders {
  before: string
  after: string
  names: string
}

class RequestSigner extends SignatureV4Base {
  readonly #region: string
  #seal: Seal | undefined
  /** The latest key: it changes once a day, and with the credentials. */
  #derived: { secret: string; accessKeyId: string; shortDate: string; key: KeyObject } | undefined
  /** By method and path, of requests without a query. */
  readonly #openings = new Map<string, string>()

  constructor({ credentials, region, service }: SignerSettings) {
    super({ credentials, region, service, sha256: NativeSha256 })
    this.#region = region
  }

  sealOf(second: number): Seal | undefined {
    return this.#seal?.second === second ? this.#seal : undefined
  }

  async newSeal(second: number): Promise<Seal> {
    const credentials = await this.credentialProvider()
    const { longDate, shortDate } = this.formatDate(new Date(second * 1000))
    const key = this.#knownKey(credentials, shortDate) ?? (await this.#deriveKey(credentials, shortDate))
    const scope = createScope(shortDate, this.#region, this.service)
    this.#seal = {
      second,
      credentials,
      key,
      longDate,
      toSign: `${ALGORITHM}\n${longDate}\n${scope}\n`,
      credential: `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=`,
      byHost: undefined,
    }
    return this.#seal
  }

  #knownKey(credentials: Credentials, shortDate: string): KeyObject | undefined {
    const known = this.#derived
    if (known?.shortDate !== shortDate || known.accessKeyId !== credentials.accessKeyId) return undefined
    return known.secret === credentials.secretAccessKey ? known.key : undefined
  }

  async #deriveKey(credentials: Credentials, shortDate: string): Promise<KeyObject> {
    const { accessKeyId, secretAccessKey: secret } = credentials
    const bytes = await getSigningKey(NativeSha256, credentials, shortDate, this.#region, this.service)
    const key = createSecretKey(bytes)
    this.#derived = { secret, accessKeyId, shortDate, key }
    return key
  }

  sign(request: Signable, seal: Seal): string[] {
    const { host } = request
    if (seal.byHost?.host !== host) seal.byHost = { host, headers: this.#sealedHeaders(host, seal) }
    const { before, after, names } = seal.byHost.headers
    const hashed = payloadHash(request.body)
    const canonical = this.#opening(request) + before + hashed + after + hashed
    const toSign = seal.toSign + hash('sha256', canonical, 'hex')
    const signature = createHmac('sha256', seal.key).update(toSign).digest('hex')
    const flat = ['host', host, 'x-amz-content-sha256', hashed, 'x-amz-date', seal.longDate]
    const { sessionToken } = seal.credentials
    if (sessionToken) flat.push('x-amz-security-token', sessionToken)
    flat.push('authorization', `${seal.credential}${names}, Signature=${signature}`)
    return flat
  }

  /** Method, path and query: the first three lines. */
  #opening(request: Signable): string {
    const { method, rawPath, rawQuery } = request
    if (rawQuery !== '' || rawPath.length > MAX_OPENING_PATH) return this.#spelling(request, {}, '').slice(0, -3)
    const name = `${method} ${rawPath}`
    let opening = this.#openings.get(name)
    if (opening === undefined) {
      opening = this.#spelling(request, {}, '').slice(0, -3)
      if (this.#openings.size >= MAX_OPENINGS) this.#openings.clear()
      this.#openings.set(name, opening)
    }
    return opening
  }

  #sealedHeaders(host: string, { credentials, longDate }: Seal): SealedHeaders {
    const headers: Record<string, string> = {
      host,
      'x-amz-content-sha256': PAYLOAD_HASH,
      'x-amz-date': longDate,
    }
    if (credentials.sessionToken) headers['x-amz-security-token'] = credentials.sessionToken
    const canonical = getCanonicalHeaders({ method: '', protocol: '', hostname: host, path: '', headers })
    const nothing = { method: '', host, rawPath: '', rawQuery: '' }
    const [before, after] = this.#spelling(nothing, canonical, PAYLOAD_HASH).slice(3).split(PAYLOAD_HASH)
    return { before: before!, after: after!, names: this.getCanonicalHeaderList(canonical) }
  }

  /** The library's canonical request. Without headers and hash it ends in three empty lines, without all else it begins so. */
  #spelling(request: Omit<Signable, 'body'>, headers: Record<string, string>, payloadHash: string): string {
    const { method, host, rawPath, rawQuery } = request
    const described = {
      method,
      protocol: 'https:',
      hostname: host,
      path: rawPath,
      query: decodeQuery(rawQuery),
      headers: {},
    }
    return this.createCanonicalRequest(described, headers, payloadHash)
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
    if (Array.isArray(earlier)) earlier.push(value)
    else query[name] = earlier === undefined ? value : [earlier, value]
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
