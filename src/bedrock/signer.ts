// Signature Version 4 as Bedrock checks it, by @smithy/signature-v4 on node's native hashes. Only what must be signed is:
// host, date, payload hash and session token. Everything else may pass untouched.
import { createHash, createHmac, createSecretKey, type Hash, type Hmac, hash, type KeyObject } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'

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

class NativeSha256 {
  readonly #hash: Hash | Hmac

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', keyOf(secret))
  }

  update(data: Uint8Array): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  /** Required by the interface; a used hash is never reset by the signer. */
  reset(): void {
    throw new Error('this hash cannot be used twice')
  }
}

function bytes(secret: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret)
}

/** Deriving a key object costs six times its use (11 µs against 2), and the signer asks for the same two at every call. */
const derivedKeys = new WeakMap<object, KeyObject>()
let secretKey: { text: string; key: KeyObject } | undefined

function keyOf(secret: string | ArrayBuffer | ArrayBufferView): KeyObject {
  if (typeof secret === 'string') {
    if (secretKey?.text !== secret) secretKey = { text: secret, key: createSecretKey(secret, 'utf8') }
    return secretKey.key
  }
  let key = derivedKeys.get(secret)
  if (!key) {
    key = createSecretKey(bytes(secret))
    derivedKeys.set(secret, key)
  }
  return key
}

/** The signing headers to add, flat: host, x-amz-date, x-amz-content-sha256, authorization and, if need be, the token. */
export function createSigner(settings: SignerSettings): (request: Signable, nowMs: number) => Promise<string[]> {
  const signer = new SignatureV4({ ...settings, sha256: NativeSha256, applyChecksum: false })
  return async (request, nowMs) => {
    const signed = await signer.sign(
      {
        method: request.method,
        protocol: 'https:',
        hostname: request.host,
        path: request.rawPath,
        query: decodeQuery(request.rawQuery),
        headers: { host: request.host, 'x-amz-content-sha256': hash('sha256', request.body, 'hex') },
      },
      { signingDate: new Date(nowMs) },
    )
    return Object.entries(signed.headers).flat()
  }
}

/** Decoded names and values; '+' is a plus, as SigV4 reads it. A malformed escape stays as it is: AWS will refuse it. */
export function decodeQuery(rawQuery: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {}
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
