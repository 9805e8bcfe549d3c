// A signature covers every byte it should: whatever single byte of path, query, signed header, body, date or signature is
// changed, added or taken away, the request is refused; but for changes of spelling alone, which are all listed here.
import assert from 'node:assert/strict'
import { createHash, createHmac, hash } from 'node:crypto'
import { describe, test } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import fc from 'fast-check'
import { encodeId, matchOperation } from '../../src/wire/operations.ts'
import { seeded } from '../support/seeds.ts'
import { NOW_MS, refusalOf, SCOPE, signed, VIRTUAL_KEY } from '../support/signed.ts'
import type { WireRequest } from '../support/sigv4.ts'

type Headers = [string, string][]

const BODY = Buffer.from('{"messages":[{"role":"user","content":[{"text":"hello"}]}]}')
const DIGEST = hash('sha256', BODY, 'hex')
const SDK_HEADERS: Headers = [
  ['amz-sdk-invocation-id', '49b665e1-acba-4310-88e0-1a0086bd1507'],
  ['amz-sdk-request', 'attempt=1; max=3'],
  ['content-length', String(BODY.length)],
  ['content-type', 'application/json'],
  ['x-amz-date', SCOPE.timestamp],
  ['x-amz-user-agent', 'aws-sdk-js/3.1163.0'],
]

/** The shapes in which the real clients sign (BEDROCK.md §1), all headers signed. */
const requests: Record<string, WireRequest> = {
  'the AWS SDK for JavaScript over HTTP/2': {
    method: 'POST',
    target: '/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream',
    headers: [[':authority', 'sluice.test:8080'], ...SDK_HEADERS, ['x-amz-content-sha256', DIGEST]],
    body: BODY,
  },
  'the AWS SDK for JavaScript over HTTP/1.1, listing': {
    method: 'GET',
    target: '/async-invoke?maxResults=3&statusEquals=Completed&submitTimeAfter=2026-11-22T09%3A59%3A27.913Z',
    headers: [['Host', 'sluice.test'], ...SDK_HEADERS],
    body: Buffer.alloc(0),
  },
  'boto3, without the hash of the body': {
    method: 'POST',
    target: '/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/invoke',
    headers: [
      ['Content-Type', 'application/json'],
      ['Host', 'sluice.test'],
      ['X-Amz-Date', SCOPE.timestamp],
    ],
    body: BODY,
  },
  "Anthropic's SDK, with a bare colon in the path": {
    method: 'POST',
    target: '/model/anthropic.claude-v2:1/invoke',
    headers: [
      ['accept', 'application/json'],
      ['host', 'sluice.test'],
      ['x-amz-content-sha256', DIGEST],
      ['x-amz-date', SCOPE.timestamp],
      ['x-stainless-timeout', '600'],
    ],
    body: BODY,
  },
}

/** What a byte is replaced by in a drawn request: each of its bits turned over, and what has a meaning of its own somewhere. */
const MEANINGFUL = [' ', '\t', '%', '/', '.', '?', '&', '=', '+', ';', ',', ':', '0', 'A', 'a', '\xff']
function replacements(character: string): string[] {
  const flipped = Array.from({ length: 8 }, (_, bit) => String.fromCharCode(character.charCodeAt(0) ^ (1 << bit)))
  return [...new Set([...flipped, ...MEANINGFUL])].filter(
    other => other !== character && other !== '\n' && other !== '\r',
  )
}

/** Bytes of a head that node's parser could hand over: past 127 a character is two of them. */
const HEAD_BYTES = bytesTo(127).filter(byte => byte !== '\n' && byte !== '\r')
const BODY_BYTES = bytesTo(255)

function bytesTo(last: number): string[] {
  return Array.from({ length: last + 1 }, (_, byte) => String.fromCharCode(byte))
}

/** Each text that is one byte away: replaced by every other, taken away, put in before. */
function* oneByteAway(text: string, bytes = HEAD_BYTES): Generator<string> {
  for (let at = 0; at <= text.length; at++) {
    const [before, after] = [text.slice(0, at), text.slice(at)]
    for (const other of MEANINGFUL) yield before + other + after
    if (at === text.length) return
    yield before + after.slice(1)
    for (const other of bytes) if (other !== text[at]) yield before + other + after.slice(1)
  }
}

/** What is the same request in another spelling, to whoever reads it. */
function meansTheSame(before: WireRequest, after: WireRequest): boolean {
  return JSON.stringify(meaning(before)) === JSON.stringify(meaning(after))
}

function meaning({ method, target, headers, body }: WireRequest): unknown {
  const [path = '', query = ''] = target.split(/\?(.*)/s)
  return [
    method,
    // Where dot segments and empty ones lead; no operation of Bedrock's has any.
    resolved(path),
    // A parameter without = is one without a value, and an & more none at all; %2d is %2D, and - as well.
    query
      .split('&')
      .filter(Boolean)
      .map(pair => (pair.includes('=') ? pair : `${pair}=`))
      .map(pair => pair.replace(/%[0-9a-f]{2}/gi, decodeOnce))
      .sort(),
    // Upper and lower case of names; blanks around a value, around the commas of an authorization, and how many within.
    headers.map(([name, value]) => [
      name.toLowerCase(),
      blanksAsOne(/^authorization$/i.test(name) ? value.replaceAll(',', ' , ') : value),
    ]),
    body.toString('latin1'),
  ]
}

function resolved(path: string): string {
  const kept: string[] = []
  for (const segment of path.slice(1).split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  return path[0] + kept.join('/') + (kept.length > 0 && path.endsWith('/') ? '/' : '')
}

function decodeOnce(escaped: string): string {
  const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
  return /[A-Za-z0-9\-._~]/.test(character) ? character : escaped.toUpperCase()
}

function blanksAsOne(value: string): string {
  return value
    .split(/[ \t]+/)
    .filter(Boolean)
    .join(' ')
}

/** Every request that is one byte away in its target, its body, or one of its headers. */
function* neighbours(request: WireRequest): Generator<[where: string, neighbour: WireRequest]> {
  for (const target of oneByteAway(request.target)) yield ['target', { ...request, target }]
  for (const text of oneByteAway(request.body.toString('latin1'), BODY_BYTES))
    yield ['body', { ...request, body: Buffer.from(text, 'latin1') }]
  for (const [i, [name, value]] of request.headers.entries()) {
    const others = [
      ...[...oneByteAway(value)].map((other): [string, string] => [name, other]),
      ...[...oneByteAway(name)].map((other): [string, string] => [other, value]),
    ]
    for (const other of others) yield [name, { ...request, headers: request.headers.with(i, other) }]
  }
  for (const method of oneByteAway(request.method)) yield ['method', { ...request, method }]
}

describe('one byte away', () => {
  for (const [client, unsigned] of Object.entries(requests)) {
    const request = signed(unsigned)

    test(`${client}: refused, unless it only spells the same request in another way, and none in another path that Bedrock serves`, t => {
      assert.equal(refusalOf(request), undefined)
      let refused = 0
      const taken: string[] = []
      for (const [where, neighbour] of neighbours(request)) {
        if (refusalOf(neighbour)) {
          refused += 1
          continue
        }
        taken.push(where)
        assert.ok(meansTheSame(request, neighbour), `taken with another ${where}: ${JSON.stringify(neighbour)}`)
        const [path, other] = [request, neighbour].map(one => one.target.split('?', 1)[0])
        if (path !== other)
          assert.notEqual(matchOperation(request.method, neighbour.target).kind, 'found', neighbour.target)
      }
      t.diagnostic(`${refused} refused; taken in another spelling: ${JSON.stringify(counts(taken))}`)
      assert.ok(refused > 60_000, `${refused} refused`)
    })
  }
})

function counts(words: string[]): Record<string, number> {
  const by: Record<string, number> = {}
  for (const word of words) by[word] = (by[word] ?? 0) + 1
  return by
}

const NAME = fc
  .string({ maxLength: 12, unit: 'grapheme' })
  .filter(text => !/^(__proto__|x-amz-(signature|algorithm))$/i.test(text))
const TEXT = fc.string({ maxLength: 12, unit: 'grapheme' })
const SEGMENT = fc.oneof(
  TEXT.map(encodeId),
  fc.stringMatching(/^[a-z0-9:$+=@!;,~.-]{0,8}$/),
  fc.constantFrom('model', 'invoke', 'converse-stream', '..', '.', ''),
)
const BLANKED = fc.array(fc.oneof(fc.stringMatching(/^[!-~]{1,6}$/), fc.constantFrom(' ', '  ', '\t', ',', 'é')), {
  maxLength: 6,
})

const REQUEST = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE'),
  path: fc.array(SEGMENT, { maxLength: 6 }).map(segments => `/${segments.join('/')}`),
  query: fc.dictionary(NAME, fc.oneof(TEXT, fc.array(TEXT, { minLength: 1, maxLength: 3 })), {
    maxKeys: 4,
    noNullPrototype: true,
  }),
  headers: fc.dictionary(
    fc.oneof(
      fc.stringMatching(/^x-[a-z0-9_-]{1,8}$/).filter(name => !name.startsWith('x-amz')),
      fc.constantFrom('content-type', 'accept', 'user-agent', 'connection', 'x-amzn-trace-id'),
    ),
    BLANKED.map(parts => parts.join('')),
    { maxKeys: 5, noNullPrototype: true },
  ),
  body: fc.uint8Array({ maxLength: 64 }).map(bytes => Buffer.from(bytes)),
  host: fc.constantFrom('host', ':authority', 'Host'),
  sendsHash: fc.boolean(),
  token: fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,20}$/), { nil: undefined }),
  region: fc.stringMatching(/^[a-z]{2}-[a-z]{4}-[1-9]$/),
  service: fc.constantFrom('bedrock', 'bedrock-mantle'),
  atMs: fc.integer({ min: NOW_MS - 300_000, max: NOW_MS + 299_999 }).map(ms => ms - (ms % 1000)),
})
type Drawn = typeof REQUEST extends fc.Arbitrary<infer T> ? T : never

/** Signed by AWS's own library, and spelt as AWS's SDK sends it. */
async function signedByAws(drawn: Drawn): Promise<WireRequest> {
  const { method, path, query, body, token, region, service } = drawn
  const { accessKeyId, secretAccessKey } = VIRTUAL_KEY
  const credentials = { accessKeyId, secretAccessKey, ...(token !== undefined && { sessionToken: token }) }
  const signer = new SignatureV4({ credentials, region, service, applyChecksum: drawn.sendsHash, sha256: Sha256 })
  const headers = { ...drawn.headers, [drawn.host]: 'sluice.test:8080' }
  const described = { method, protocol: 'https:', hostname: 'sluice.test', path, query, headers, body }
  const result = await signer.sign(described, { signingDate: new Date(drawn.atMs) })
  const pairs = Object.entries(query).flatMap(([name, values]) =>
    [values].flat().map(value => `${encodeId(name)}=${encodeId(value)}`),
  )
  const target = path + (pairs.length > 0 ? `?${pairs.join('&')}` : '')
  return { method, target, headers: Object.entries(result.headers), body }
}

class Sha256 {
  readonly #hash

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    const key = typeof secret === 'string' ? secret : new Uint8Array(secret as ArrayBuffer)
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', key)
  }

  update(data: Uint8Array): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {}
}

test("whatever AWS's own library signs is taken, and refused with any one byte of it changed", async t => {
  await fc.assert(
    fc.asyncProperty(REQUEST, fc.nat(), fc.nat(), async (drawn, where, what) => {
      const request = await signedByAws(drawn)
      assert.equal(refusalOf(request), undefined)
      const neighbour = neighbourAt(request, where, what)
      if (refusalOf(neighbour)) return
      assert.ok(meansTheSame(request, neighbour), `taken: ${JSON.stringify(neighbour)}`)
    }),
    seeded(t, 2_000),
  )
})

/** One of the neighbours, without spelling the others. */
function neighbourAt(request: WireRequest, where: number, what: number): WireRequest {
  const signedNames = new Set(/SignedHeaders=([^,]*)/.exec(JSON.stringify(request.headers))![1]!.split(';'))
  const parts: [text: string, put: (text: string) => WireRequest][] = [
    [request.target, target => ({ ...request, target })],
    [request.body.toString('latin1'), text => ({ ...request, body: Buffer.from(text, 'latin1') })],
    ...request.headers.flatMap(([name, value], i): [string, (text: string) => WireRequest][] =>
      signedNames.has(name.toLowerCase()) || name === 'authorization'
        ? [[value, other => ({ ...request, headers: request.headers.with(i, [name, other]) })]]
        : [],
    ),
  ]
  const [text, put] = parts[where % parts.length]!
  if (text === '') return put(MEANINGFUL[what % MEANINGFUL.length]!)
  const at = (where >>> 4) % text.length
  const others = replacements(text[at]!)
  return put(text.slice(0, at) + others[what % others.length]! + text.slice(at + 1))
}
