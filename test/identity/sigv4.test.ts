// Signature Version 4 as Sluice checks it of its clients: AWS's own vectors, what is refused and in which words, what a proxy
// between may change, and what is remembered.
import assert from 'node:assert/strict'
import crypto, { hash } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { describe, test } from 'node:test'
import { isSigned, type SigningKey, whoSigned } from '../../src/identity/sigv4.ts'
import type { Presented } from '../../src/identity/who.ts'
import { payloadHash } from '../../src/wire/payloadHash.ts'
import {
  type Choices,
  CLIENT_KEY,
  keyOf,
  NOW_MS,
  presented,
  refusalOf,
  SCOPE,
  signed,
  VIRTUAL_KEY,
} from '../support/signed.ts'
import type { WireRequest } from '../support/sigv4.ts'
import { loadVectors, VECTOR_DATE_MS, VECTOR_KEY, VECTORS_MISSING } from '../support/sigv4Vectors.ts'

const MINUTE_MS = 60_000
const MISMATCH = /^The request signature we calculated does not match the signature you provided\./
const vectors = loadVectors()
const TOKEN = 'x-amz-security-token'

test("AWS's SigV4 vectors are there to be checked", { skip: VECTORS_MISSING }, () => {
  assert.equal(vectors.length, 34)
})

for (const vector of vectors) {
  const key: SigningKey = { client: 'vectors', secret: VECTOR_KEY.secretAccessKey }
  const find = (id: string) => (id === VECTOR_KEY.accessKeyId ? key : undefined)
  const token = /^x-amz-security-token:(.*)$/m.exec(vector.canonical)?.[1]
  const isSent = vector.request.headers.some(([name]) => name.toLowerCase() === TOKEN)
  const headers: [string, string][] = [
    ...vector.request.headers,
    ...(token !== undefined && !isSent ? [[TOKEN, token] as [string, string]] : []),
    ['Authorization', vector.authorization],
  ]
  const request = { ...vector.request, headers }

  test(`vector ${vector.name} verifies, and not with another body or secret`, () => {
    const who = whoSigned(presented(request), find, VECTOR_DATE_MS, ['service'])
    assert.ok(who.kind === 'known', JSON.stringify(who))
    assert.equal(who.client, 'vectors')
    assert.equal(who.checkBody!(request.body), undefined)
    assert.match(who.checkBody!(Buffer.from('another'))?.message ?? '', MISMATCH)
    const other = () => ({ ...key, secret: 'another' })
    const denied = whoSigned(presented(request), other, VECTOR_DATE_MS, ['service'])
    assert.match((denied.kind === 'known' && denied.checkBody!(request.body)?.message) || '', MISMATCH)
  })
}

const BODY = Buffer.from('{"messages":[]}')
const DIGEST = hash('sha256', BODY, 'hex')

/** As boto3 sends it: without the body's hash. */
function request(rest: Partial<WireRequest> = {}, headers: Record<string, string> = {}): WireRequest {
  const all = { host: 'sluice.test', 'x-amz-date': SCOPE.timestamp, ...headers }
  return { method: 'POST', target: '/model/m%3A0/converse', headers: Object.entries(all), body: BODY, ...rest }
}

/** As the AWS SDK for JavaScript sends it: with the body's hash, so that the head alone can be verified. */
function withHash(headers: Record<string, string> = {}): WireRequest {
  return request({}, { 'x-amz-content-sha256': DIGEST, ...headers })
}

/** The request with its headers changed, those renamed to '' gone. */
function changed(one: WireRequest, change: (name: string, value: string) => [string, string][]): WireRequest {
  return { ...one, headers: one.headers.flatMap(([name, value]) => change(name.toLowerCase(), value)) }
}

function withAuthorization(one: WireRequest, change: (value: string) => string): WireRequest {
  return changed(one, (name, value) => [[name, name === 'authorization' ? change(value) : value]])
}

test('who signed is the client of the key, and its user the access key id', () => {
  const who = whoSigned(presented(signed(withHash())), keyOf, NOW_MS)
  assert.ok(who.kind === 'known')
  assert.equal(who.client, 'checkout')
  assert.equal(who.user, 'AKIDVIRTUAL')
})

test('with the hash sent a wrong signature is seen before the body, and a wrong body by its hash', () => {
  const forged = { ...signed(withHash()), target: '/model/other/converse' }
  const denied = whoSigned(presented(forged), keyOf, NOW_MS)
  assert.equal(denied.kind === 'denied' && denied.refusal.code, 'bad-signature')
  const who = whoSigned(presented(signed(withHash())), keyOf, NOW_MS)
  assert.ok(who.kind === 'known')
  assert.equal(who.checkBody!(BODY), undefined)
  assert.match(who.checkBody!(Buffer.from('{}'))?.message ?? '', /x-amz-content-sha256/)
})

test('a hash that is sent and not signed is bound to the body all the same', () => {
  const names = ['host', 'x-amz-date']
  const one = signed(withHash(), { signedHeaders: names })
  assert.equal(refusalOf(one), undefined)
  assert.equal(refusalOf({ ...one, body: Buffer.from('{}') })?.code, 'bad-signature')
  const other = hash('sha256', '{}', 'hex')
  const swapped = changed(one, (name, value) => [[name, name === 'x-amz-content-sha256' ? other : value]])
  assert.equal(refusalOf({ ...swapped, body: Buffer.from('{}') })?.code, 'bad-signature')
})

test("the body's hash is reckoned once, for the signature that Sluice makes as well", () => {
  for (const one of [signed(request()), signed(withHash())]) {
    const body = Buffer.from(BODY)
    assert.equal(refusalOf({ ...one, body }), undefined)
    // What is remembered of it stays, even if (as never happens) the bytes did not.
    body[0] = 0
    assert.equal(payloadHash(body), DIGEST)
  }
})

describe('times', () => {
  const at = (offsetMs: number) => refusalOf(signed(request()), NOW_MS + offsetMs)
  test('up to five minutes off in either direction it is taken', () => {
    for (const minutes of [-5, -4.9, 0, 4.9, 5]) assert.equal(at(minutes * MINUTE_MS), undefined, `${minutes} min`)
  })
  test('beyond, it is refused in the words by which SDKs and people know it', () => {
    assert.deepEqual(at(5 * MINUTE_MS + 1_000), {
      code: 'bad-signature',
      message: 'Signature expired: 20261122T120000Z is now earlier than 20261122T120001Z (20261122T120501Z - 5 min.)',
    })
    assert.deepEqual(at(-5 * MINUTE_MS - 1_000), {
      code: 'bad-signature',
      message:
        'Signature not yet current: 20261122T120000Z is still later than 20261122T115959Z (20261122T115459Z + 5 min.)',
    })
  })
  test('a scope of another day is refused, though its signature is right', () => {
    const yesterday = signed(request(), { scope: { timestamp: '20261121T120000Z' } })
    assert.match(
      refusalOf(yesterday)?.message ?? '',
      /^Date in Credential scope does not match .*"20261121" != "20261122"/,
    )
  })
  for (const date of ['Sun, 22 Nov 2026 12:00:00 GMT', '20261122T120000Z']) {
    test(`a date header stands for a missing x-amz-date: ${date}`, () => {
      const one = request({
        headers: [
          ['host', 'sluice.test'],
          ['date', date],
        ],
      })
      assert.equal(refusalOf(signed(one)), undefined)
      assert.match(refusalOf(signed(one), NOW_MS + 10 * MINUTE_MS)?.message ?? '', /^Signature expired/)
    })
  }
  test('x-amz-date counts where both are sent, and a date beside it need not be signed', () => {
    const both = request({}, { date: 'Sun, 22 Nov 2020 12:00:00 GMT' })
    assert.equal(refusalOf(signed(both, { signedHeaders: ['host', 'x-amz-date'] })), undefined)
    assert.match(
      refusalOf(signed(both, { signedHeaders: ['date', 'host'] }))?.message ?? '',
      /^x-amz-date: expected among/,
    )
  })
  for (const date of ['', 'yesterday', '2026-11-22T12:00:00Z', '20261122T1200Z', '20269922T120000Z', '1795348800']) {
    test(`no date at all: ${JSON.stringify(date)}`, () => {
      const refusal = refusalOf(signed(request({}, { 'x-amz-date': date })))
      assert.equal(refusal?.code, 'incomplete-signature')
      assert.match(refusal.message, /^Date must be in ISO-8601/)
    })
  }
})

describe('what is refused, by its code and words', () => {
  const good = signed(withHash())
  const incomplete: [string, WireRequest, RegExp][] = [
    ['no authorization', withHash(), /no authorization/],
    [
      'another algorithm',
      withAuthorization(good, v => v.replace('HMAC', 'ECDSA')),
      /Unsupported AWS 'algorithm': "AWS4-ECDSA-SHA256"/,
    ],
    [
      'the algorithm in lower case',
      withAuthorization(good, v => v.replace('AWS4-HMAC-SHA256', 'aws4-hmac-sha256')),
      /Unsupported/,
    ],
    ['nothing but the algorithm', withAuthorization(good, () => 'AWS4-HMAC-SHA256 '), /part that is none of/],
    [
      'no signature',
      withAuthorization(good, v => v.replace(/, Signature=.*/, '')),
      /requires 'Credential', 'SignedHeaders', 'Signature'/,
    ],
    ['an empty signature', withAuthorization(good, v => v.replace(/Signature=.*/, 'Signature=')), /requires/],
    ['two signatures', withAuthorization(good, v => `${v}, Signature=${'0'.repeat(64)}`), /one twice/],
    ['a part nobody knows', withAuthorization(good, v => `${v}, Expires=5`), /none of/],
    [
      'an endless authorization',
      withAuthorization(good, v => v.replace('SignedHeaders=', `SignedHeaders=${'a;'.repeat(5_000)}`)),
      /longer than 8192/,
    ],
    [
      'too many signed headers',
      withAuthorization(good, v =>
        v.replace(
          /SignedHeaders=[^,]*/,
          `SignedHeaders=${Array.from({ length: 101 }, (_, i) => `a${100 + i}`).join(';')}`,
        ),
      ),
      /more than 100/,
    ],
    [
      'a credential without a Region',
      withAuthorization(good, v => v.replace('eu-west-1/', '')),
      /exactly 5 slash-delimited elements/,
    ],
    [
      'a credential with an empty element',
      withAuthorization(good, v => v.replace('eu-west-1', '')),
      /exactly 5 slash-delimited elements/,
    ],
    [
      'a header that is named and not sent',
      changed(good, (n, v) => (n === 'x-amz-content-sha256' ? [] : [[n, v]])),
      /"x-amz-content-sha256", which is not among/,
    ],
    ['no host', changed(good, (n, v) => (n === 'host' ? [] : [[n, v]])), /"host", which is not among/],
    [
      'two authorizations',
      { ...good, headers: [...good.headers, ['Authorization', 'Bearer x']] },
      /^authorization: expected one value/,
    ],
    [
      'two dates',
      { ...good, headers: [...good.headers, ['x-amz-date', SCOPE.timestamp]] },
      /^x-amz-date: expected one value/,
    ],
    [
      'two hashes',
      { ...good, headers: [...good.headers, ['X-Amz-Content-Sha256', DIGEST]] },
      /^x-amz-content-sha256: expected one value/,
    ],
    ['two hosts', { ...good, headers: [...good.headers, ['Host', 'elsewhere.test']] }, /^host: expected one value/],
    [
      'a host beside another authority',
      { ...good, headers: [[':authority', 'elsewhere.test'], ...good.headers] },
      /^host: expected one value/,
    ],
    [
      'an unsigned host',
      signed(withHash(), { signedHeaders: ['x-amz-content-sha256', 'x-amz-date'] }),
      /'Host' or ':authority' must be a 'SignedHeader'/,
    ],
    [
      'an unsigned date',
      signed(withHash(), { signedHeaders: ['host', 'x-amz-content-sha256'] }),
      /x-amz-date: expected among/,
    ],
    ['no date', signed(request({ headers: [['host', 'sluice.test']] })), /'X-Amz-Date' or a 'Date' header/],
    [
      'names in another order',
      signed(withHash(), { signedHeaders: ['x-amz-date', 'host', 'x-amz-content-sha256'] }),
      /lower case, sorted, each once/,
    ],
    [
      'a name twice',
      signed(withHash(), { signedHeaders: ['host', 'host', 'x-amz-date'] }),
      /lower case, sorted, each once/,
    ],
    ['a name in capitals', withAuthorization(good, v => v.replace('=host', '=Host')), /lower case, sorted, each once/],
    [
      'a presigned request',
      { ...request(), target: `/model/m/invoke?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=${'0'.repeat(64)}` },
      /^Presigned requests are not supported/,
    ],
    [
      'a presigned request that is signed too',
      signed({ ...request(), target: '/model/m/invoke?a=b&x-amz-signature=0' }),
      /^Presigned requests are not supported/,
    ],
    ...[
      'UNSIGNED-PAYLOAD',
      'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      'STREAMING-AWS4-HMAC-SHA256-EVENTS',
      '',
      DIGEST.toUpperCase(),
    ].map((value): [string, WireRequest, RegExp] => [
      `a payload hash that is ${JSON.stringify(value)}`,
      signed(withHash({ 'x-amz-content-sha256': value })),
      /^x-amz-content-sha256: expected the SHA-256 of the whole body/,
    ]),
  ]
  for (const [what, one, words] of incomplete) {
    test(`${what}: incomplete`, () => {
      const refusal = refusalOf(one)
      assert.equal(refusal?.code, 'incomplete-signature', refusal?.message)
      assert.match(refusal.message, words)
    })
  }

  const bad: [string, WireRequest, RegExp][] = [
    ['another secret', signed(withHash(), { key: { ...VIRTUAL_KEY, secretAccessKey: 'guessed' } }), MISMATCH],
    [
      'another secret, without the hash',
      signed(request(), { key: { ...VIRTUAL_KEY, secretAccessKey: 'guessed' } }),
      MISMATCH,
    ],
    ['a signature that is too short', withAuthorization(good, v => v.slice(0, -1)), MISMATCH],
    ['a signature that is too long', withAuthorization(good, v => `${v}0`), MISMATCH],
    [
      'a signature in capitals',
      withAuthorization(good, v => v.replace(/[0-9a-f]{64}$/, s => s.toUpperCase())),
      MISMATCH,
    ],
    [
      'a percent sign in the query that escapes nothing, where an escaped one was signed',
      { ...signed({ ...withHash(), target: '/model/m/invoke?a=%25zz' }), target: '/model/m/invoke?a=%zz' },
      MISMATCH,
    ],
    [
      'another service',
      signed(withHash(), { scope: { service: 's3' } }),
      /correct service: 'bedrock' or 'bedrock-mantle', not "s3"/,
    ],
    [
      'another terminator',
      withAuthorization(good, v => v.replace('aws4_request', 'aws5_request')),
      /valid terminator: 'aws4_request', not "aws5_request"/,
    ],
  ]
  for (const [what, one, words] of bad) {
    test(`${what}: bad`, () => {
      const refusal = refusalOf(one)
      assert.equal(refusal?.code, 'bad-signature', refusal?.message)
      assert.match(refusal.message, words)
    })
  }

  test('an access key id that no client has: unknown, in the words of AWS', () => {
    const stranger = signed(withHash(), { key: { ...VIRTUAL_KEY, accessKeyId: 'AKIDSTRANGER' } })
    assert.deepEqual(refusalOf(stranger), {
      code: 'unknown-key',
      message: 'The security token included in the request is invalid.',
    })
  })

  test('no refusal holds the secret, the right signature or the canonical request, nor repeats at length what was sent', () => {
    const right = /Signature=(\w+)$/.exec(good.headers.at(-1)![1])![1]!
    for (const [what, one] of [...incomplete, ...bad]) {
      const { message } = refusalOf(one)!
      assert.ok(!message.includes(VIRTUAL_KEY.secretAccessKey) && !message.includes(right), what)
      assert.ok(!message.includes('\n') && !message.includes('sluice.test') && message.length < 400, what)
    }
  })
})

describe('what is taken', () => {
  const taken: [string, WireRequest][] = [
    ['any Region', signed(withHash(), { scope: { region: 'mars-north-7' } })],
    ["the service of Bedrock's other endpoint", signed(withHash(), { scope: { service: 'bedrock-mantle' } })],
    [
      'parts of the authorization set apart by a comma alone',
      withAuthorization(signed(withHash()), v => v.replaceAll(', ', ',')),
    ],
    [
      'a session token, signed: virtual keys have none, and leftovers of an environment do no harm',
      signed(withHash({ [TOKEN]: 'leftover' })),
    ],
    [
      'a session token, unsigned',
      signed(withHash({ [TOKEN]: 'leftover' }), { signedHeaders: ['host', 'x-amz-content-sha256', 'x-amz-date'] }),
    ],
    [
      'an authority signed over HTTP/2',
      signed({
        ...withHash(),
        headers: [
          [':authority', 'sluice.test'],
          ['x-amz-date', SCOPE.timestamp],
          ['x-amz-content-sha256', DIGEST],
        ],
      }),
    ],
    [
      'bytes beyond ASCII in path and header',
      signed({ ...withHash({ 'x-label': 'größe' }), target: '/model/ሴ/converse?ä=ሴ' }),
    ],
  ]
  for (const [what, one] of taken) {
    test(what, () => assert.equal(refusalOf(one), undefined))
  }

  test('an authority signed over HTTP/2 that a proxy made the host of HTTP/1.1', () => {
    const h2 = signed({
      ...withHash(),
      headers: [
        [':authority', 'sluice.test'],
        ['x-amz-date', SCOPE.timestamp],
      ],
    })
    const asHttp1 = changed(h2, (name, value) => [[name === ':authority' ? 'Host' : name, value]])
    assert.equal(refusalOf(asHttp1), undefined)
    assert.equal(refusalOf(changed(asHttp1, (n, v) => [[n, n === 'host' ? 'sluice.tesT' : v]]))?.code, 'bad-signature')
  })

  test('a host signed over HTTP/1.1 that a proxy made the authority of HTTP/2, with or without the host beside it', () => {
    const h1 = signed(withHash())
    const authority: [string, string] = [':authority', 'sluice.test']
    assert.equal(refusalOf(changed(h1, (name, value) => (name === 'host' ? [authority] : [[name, value]]))), undefined)
    assert.equal(refusalOf({ ...h1, headers: [authority, ...h1.headers] }), undefined)
  })

  test('headers that a proxy or load balancer adds', () => {
    const added: [string, string][] = [
      ['x-amzn-trace-id', 'Root=1-67891233-abcdef012345678912345678'],
      ['x-amz-cf-id', 'of-cloudfront'],
      ['x-forwarded-for', '192.0.2.1'],
      ['via', '1.1 nginx'],
    ]
    const one = signed(withHash())
    assert.equal(refusalOf({ ...one, headers: [...one.headers, ...added] }), undefined)
  })
})

test('characters that are no bytes, which no wire carries, are not taken for the bytes that they end in', () => {
  const good = presented(signed({ ...withHash({ 'x-label': 'a' }), target: '/model/m/invoke?a=' }))
  const find = (one: Presented) => whoSigned(one, keyOf, NOW_MS).kind
  assert.equal(find(good), 'known')
  assert.equal(find({ ...good, rawUrl: `${good.rawUrl}\u0161` }), 'denied')
  assert.equal(find({ ...good, rawHeaders: good.rawHeaders.map(text => (text === 'a' ? '\u0161' : text)) }), 'denied')
  const region = good.rawHeaders.map(text => text.replace('eu-west-1', 'eu-west-\u0131'))
  assert.equal(find({ ...good, rawHeaders: region }), 'denied')
})

test('isSigned: what claims to be signed, in ways that are refused too; a key of another kind is not', () => {
  const claim = (authorization: string | undefined, rawUrl = '/') =>
    isSigned({
      rawUrl,
      headers: authorization ? { authorization } : {},
    })
  for (const authorization of ['AWS4-HMAC-SHA256 Credential=…', 'aws4-hmac-sha256 x', 'AWS4-ECDSA-P256-SHA256 x'])
    assert.equal(claim(authorization), true, authorization)
  for (const authorization of [undefined, 'Bearer AWS4-HMAC-SHA256', 'Bearer x', 'Basic x'])
    assert.equal(claim(authorization), false, authorization)
  assert.equal(claim('Bearer x', '/?X-Amz-Signature=0'), true)
  assert.equal(claim(undefined, '/model/m/invoke?a=b&X-Amz-Algorithm=AWS4-HMAC-SHA256'), true)
  assert.equal(claim(undefined, '/model/X-Amz-Algorithm=/invoke'), false)
})

describe('what is remembered of a key', () => {
  const use = (key: SigningKey, choices: Choices = {}) => refusalOf(signed(withHash(), choices), NOW_MS, () => key)

  test('a secret that changed is not served by what was derived from the old one', () => {
    assert.equal(use(CLIENT_KEY), undefined)
    const next = { ...CLIENT_KEY, secret: 'rotated' }
    assert.equal(use(next)?.code, 'bad-signature')
    assert.equal(use(next, { key: { ...VIRTUAL_KEY, secretAccessKey: 'rotated' } }), undefined)
    assert.equal(use(CLIENT_KEY, { key: { ...VIRTUAL_KEY, secretAccessKey: 'rotated' } })?.code, 'bad-signature')
  })

  test('each day, Region and service has a key of its own, however often and in whatever order they come', () => {
    const scopes = Array.from({ length: 40 }, (_, i) => ({
      region: `region-${i}`,
      service: i % 2 ? 'bedrock' : 'bedrock-mantle',
    }))
    for (const scope of [...scopes, ...scopes.toReversed(), ...scopes])
      assert.equal(use(CLIENT_KEY, { scope }), undefined)
    const wrong = withAuthorization(signed(withHash(), { scope: scopes[1]! }), v => v.replace('region-1/', 'region-3/'))
    assert.equal(refusalOf(wrong)?.code, 'bad-signature')
  })

  test('a scope is derived once while few are used; many do not add up, and a stranger adds none', t => {
    t.after(() => syncBuiltinESMExports())
    const derivations = t.mock.method(crypto, 'createSecretKey').mock
    syncBuiltinESMExports()
    const derived = (work: () => void) => {
      const before = derivations.callCount()
      work()
      return derivations.callCount() - before
    }
    const key = { ...CLIENT_KEY }
    const regions = (count: number) => Array.from({ length: count }, (_, i) => ({ scope: { region: `region-${i}` } }))
    const forged = { ...VIRTUAL_KEY, secretAccessKey: 'guessed' }
    const useAll = (count: number, choices: Choices = {}) =>
      derived(() => {
        for (const scope of regions(count)) use(key, { ...scope, ...choices })
      })
    assert.deepEqual([useAll(10), useAll(10)], [10, 0])
    assert.equal(useAll(100, { key: forged }), 90)
    assert.equal(useAll(10), 0, "still the client's own")
    assert.ok(useAll(100) + useAll(100) > 180, 'not one remembered for each of a hundred')
  })
})
