import assert from 'node:assert/strict'
import { createHash, createHmac, hash } from 'node:crypto'
import { test } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import { type Credentials, createSigner, decodeQuery, type Sign } from '../../src/bedrock/signer.ts'
import { authorization, canonicalRequest, type SecretKey, stringToSign, verify } from '../support/sigv4.ts'
import {
  loadVectors,
  VECTOR_DATE_MS,
  VECTOR_KEY,
  VECTOR_SCOPE,
  VECTORS_MISSING,
  type Vector,
} from '../support/sigv4Vectors.ts'

const vectors = loadVectors()
const TOKEN = 'x-amz-security-token'

/** Why a vector can't go through createSigner: its signature covers what Sluice leaves unsigned, or the reverse. */
function notOurs(vector: Vector): string | undefined {
  const others = vector.signedHeaders.filter(name => !['host', 'x-amz-date', TOKEN].includes(name))
  if (others.length > 0) return `it signs ${others.join(', ')}; Sluice signs none of the headers that it passes on`
  if (vector.name.endsWith('post-sts-header-after'))
    return 'it leaves the session token unsigned; Sluice always signs it'
  return undefined
}

/** Why a vector can't go through SignatureV4: its headers are a map of strings. */
function notAMap(vector: Vector): string | undefined {
  const names = vector.request.headers.map(header => header[0].toLowerCase())
  if (new Set(names).size === names.length) return undefined
  return 'it repeats a header, which its map of headers cannot hold; Sluice signs no header that can be repeated'
}

/** The vector's own text with the one header added that Bedrock's signer has and the suite has not. */
function withPayloadHash(vector: Vector): { canonical: string; signedHeaders: string[] } {
  const digest = hash('sha256', vector.request.body, 'hex')
  const signedHeaders = vector.signedHeaders.toSpliced(1, 0, 'x-amz-content-sha256')
  const canonical = vector.canonical
    .replace(/\nx-amz-date:/, `\nx-amz-content-sha256:${digest}\nx-amz-date:`)
    .replace(`\n\n${vector.signedHeaders.join(';')}\n`, `\n\n${signedHeaders.join(';')}\n`)
  return { canonical, signedHeaders }
}

function keyOf(vector: Vector): SecretKey & { sessionToken?: string } {
  const token = /^x-amz-security-token:(.*)$/m.exec(vector.canonical)?.[1]
  return token === undefined ? VECTOR_KEY : { ...VECTOR_KEY, sessionToken: token }
}

function flatToMap(flat: string[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), flat[i + 1]!]] : [])))
}

test("AWS's SigV4 vectors are there to be checked", { skip: VECTORS_MISSING }, () => {
  assert.equal(vectors.length, 34)
  assert.equal(vectors.filter(vector => !notOurs(vector)).length, 25)
  assert.equal(vectors.filter(vector => !notAMap(vector)).length, 32)
})

for (const vector of vectors) {
  const { request } = vector
  const [path = '', query = ''] = request.target.split(/\?(.*)/s)

  test(`vector ${vector.name}: the tests' own verifier says what AWS says`, () => {
    const token = keyOf(vector).sessionToken
    const isSent = request.headers.some(([name]) => name.toLowerCase() === TOKEN)
    const headers: WireHeaders = token && !isSent ? [...request.headers, [TOKEN, token]] : request.headers
    const canonical = canonicalRequest({ ...request, headers }, vector.signedHeaders)
    assert.equal(canonical, vector.canonical)
    assert.equal(stringToSign(canonical, VECTOR_SCOPE), vector.toSign)
    assert.equal(authorization(vector.toSign, vector.signedHeaders, VECTOR_SCOPE, VECTOR_KEY), vector.authorization)
  })

  test(`vector ${vector.name}: Sluice's signature is AWS's, once the payload hash is among the signed headers`, {
    skip: notOurs(vector) ?? false,
  }, async () => {
    const sign = createSigner({ credentials: async () => keyOf(vector), region: 'us-east-1', service: 'service' })
    const host = request.headers.find(([name]) => name.toLowerCase() === 'host')![1]
    const { method, body } = request
    const signed = flatToMap(await sign({ method, host, rawPath: path, rawQuery: query, body }, VECTOR_DATE_MS))
    const { canonical, signedHeaders } = withPayloadHash(vector)
    assert.match(canonical, /x-amz-content-sha256:/)
    const expected = authorization(stringToSign(canonical, VECTOR_SCOPE), signedHeaders, VECTOR_SCOPE, VECTOR_KEY)
    assert.equal(signed.authorization, expected)
    assert.equal(signed['x-amz-date'], '20150830T123600Z')
    assert.equal(signed[TOKEN], keyOf(vector).sessionToken)
  })

  test(`vector ${vector.name}: @smithy/signature-v4, as the signer sets it up, gives AWS's signature to the letter`, {
    skip: notAMap(vector) ?? false,
  }, async () => {
    const key = keyOf(vector)
    const isUnsignedToken = vector.name.endsWith('post-sts-header-after')
    const signer = new SignatureV4({
      credentials: isUnsignedToken ? VECTOR_KEY : key,
      region: 'us-east-1',
      service: 'service',
      applyChecksum: false,
      sha256: Sha256,
    })
    const headers = Object.fromEntries(
      request.headers.map(([name, value]) => [name.toLowerCase(), value]).filter(([name]) => name !== TOKEN),
    )
    const signed = await signer.sign(
      {
        method: request.method,
        protocol: 'https:',
        hostname: headers.host!,
        path,
        query: decodeQuery(query),
        headers,
        body: request.body.toString(),
      },
      // Otherwise left out of a signature by default; the suite signs it.
      { signingDate: new Date(VECTOR_DATE_MS), signableHeaders: new Set(vector.signedHeaders) },
    )
    assert.equal(signed.headers.authorization, vector.authorization)
  })
}

const WHERE = { region: 'eu-west-1', service: 'bedrock' }
const NOON_MS = Date.UTC(2026, 0, 2, 12)

/** What the verifier says of a request signed by `sign`: nothing when Bedrock would take it. */
async function faultOf(sign: Sign, key: SecretKey, nowMs: number, target: string, text: string) {
  const [rawPath = '', rawQuery = ''] = target.split(/\?(.*)/s)
  const body = Buffer.from(text)
  const flat = await sign({ method: 'POST', host: 'bedrock.test', rawPath, rawQuery, body }, nowMs)
  return verify({ method: 'POST', target, headers: Object.entries(flatToMap(flat)), body }, key)
}

test('what is spelt once for many requests never goes with another path, query, body, second or day', async () => {
  const sign = createSigner({ credentials: async () => VECTOR_KEY, ...WHERE })
  const targets = [
    '/model/a%3A0/converse',
    '/model/a%3A0/converse?b=1',
    '/model/b/converse',
    '/model/a%3A0/converse?b=2',
  ]
  for (const nowMs of [NOON_MS, NOON_MS + 1, NOON_MS + 1_000, NOON_MS + 86_400_000, NOON_MS])
    for (const target of targets)
      for (const text of ['{}', '{"a":1}', ''])
        assert.equal(await faultOf(sign, VECTOR_KEY, nowMs, target, text), undefined, `${target} ${text}`)
})

test('more paths than are remembered are signed as well', async () => {
  const sign = createSigner({ credentials: async () => VECTOR_KEY, ...WHERE })
  const long = 'x'.repeat(1_000)
  for (let i = 0; i < 2_500; i++)
    assert.equal(
      await faultOf(sign, VECTOR_KEY, NOON_MS, `/model/${i % 7 === 0 ? long : ''}${i}/invoke`, '{}'),
      undefined,
    )
})

test('credentials that rotate are those of the next second, token and all', async () => {
  const keys: Credentials[] = [
    VECTOR_KEY,
    { accessKeyId: 'AKIDSECOND', secretAccessKey: 'second', sessionToken: 'token' },
    { accessKeyId: 'AKIDSECOND', secretAccessKey: 'third' },
  ]
  let key = keys[0]!
  let asked = 0
  const credentials = async () => {
    asked += 1
    return key
  }
  const sign = createSigner({ credentials, ...WHERE })
  for (const [i, one] of keys.entries()) {
    key = one
    for (const ms of [0, 400, 999])
      assert.equal(await faultOf(sign, one, NOON_MS + i * 1_000 + ms, '/model/a/invoke', '{}'), undefined)
  }
  assert.equal(asked, keys.length)
})

test('credentials that could not be had are asked for again by the next request', async () => {
  let fails = true
  const credentials = async () => {
    if (fails) throw new Error('no credentials')
    return VECTOR_KEY
  }
  const sign = createSigner({ credentials, ...WHERE })
  await assert.rejects(async () => faultOf(sign, VECTOR_KEY, NOON_MS, '/model/a/invoke', '{}'), /no credentials/)
  fails = false
  assert.equal(await faultOf(sign, VECTOR_KEY, NOON_MS, '/model/a/invoke', '{}'), undefined)
})

type WireHeaders = [string, string][]

class Sha256 {
  readonly #hash

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', asBytes(secret))
  }

  update(data: Uint8Array): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {}
}

function asBytes(secret: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof secret === 'string') return secret
  if (!ArrayBuffer.isView(secret)) return new Uint8Array(secret)
  return new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
}
