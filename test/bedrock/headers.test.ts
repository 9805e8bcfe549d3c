import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { downstreamHeaders, headerValue, upstreamHeaders } from '../../src/bedrock/headers.ts'
import { seeded } from '../support/seeds.ts'

const HOP_BY_HOP = [
  'Connection',
  'Keep-Alive',
  'Proxy-Authenticate',
  'Proxy-Authorization',
  'Proxy-Connection',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
  'HTTP2-Settings',
]
const CLIENTS_OWN = ['Authorization', 'X-Amz-Date', 'X-Amz-Security-Token', 'X-Amz-Content-Sha256', 'x-api-key']

for (const name of HOP_BY_HOP) {
  test(`${name} belongs to one hop and crosses in neither direction, however it is spelt`, () => {
    for (const spelt of [name, name.toLowerCase(), name.toUpperCase()]) {
      assert.deepEqual(upstreamHeaders([spelt, 'x', 'Accept', 'a']), ['Accept', 'a'])
      assert.deepEqual(downstreamHeaders([spelt, 'x', 'Date', 'd']), ['Date', 'd'])
    }
  })
}

for (const name of CLIENTS_OWN) {
  test(`the client's ${name} never reaches AWS`, () => {
    assert.deepEqual(upstreamHeaders([name, 'secret', 'Accept', 'a']), ['Accept', 'a'])
  })
}

const OF_PROXIES = [
  ...['X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded', 'Forwarded', 'Via', 'X-Real-IP'],
  ...['True-Client-IP', 'X-Client-IP', 'X-Cluster-Client-IP', 'CF-Connecting-IP', 'CF-Access-Jwt-Assertion', 'Cookie'],
  ...['X-Amzn-Oidc-Data', 'X-Amzn-Oidc-Accesstoken', 'X-Amzn-Mtls-Clientcert', 'X-Original-URL', 'X-Rewrite-URL'],
  ...['X-HTTP-Method-Override', 'Proxy-Anything', 'api-key'],
]

for (const name of OF_PROXIES) {
  test(`${name}, a proxy's word on who calls and how, never reaches AWS`, () => {
    assert.deepEqual(upstreamHeaders([name, 'x', name.toLowerCase(), 'x', 'Accept', 'a']), ['Accept', 'a'])
  })
}

test('every x-amz- header of a client stops at Sluice, known or not, but for the name of its SDK', () => {
  const names = ['X-Amz-Anything-New', 'x-amz-source-arn', 'X-AMZ-CHECKSUM-SHA256', 'x-amz-decoded-content-length']
  for (const name of names) assert.deepEqual(upstreamHeaders([name, 'x', 'Accept', 'a']), ['Accept', 'a'])
  const passing = ['X-Amz-User-Agent', 'aws-sdk-js/3', 'X-Amzn-Bedrock-Trace', 'ENABLED', 'X-Amzn-Trace-Id', 'Root=1']
  assert.deepEqual(upstreamHeaders(passing), passing)
})

test('what Connection names is dropped too, from every Connection header and in any case', () => {
  const headers = ['X-One', '1', 'connection', 'close, X-one', 'X-Two', '2', 'CONNECTION', ' x-TWO ,', 'X-Three', '3']
  assert.deepEqual(upstreamHeaders(headers), ['X-Three', '3'])
  assert.deepEqual(downstreamHeaders(headers), ['X-Three', '3'])
})

test('headers for Sluice itself and HTTP/2 pseudo-headers stop at Sluice', () => {
  const headers = ['X-Sluice-User', 'ann', 'x-sluice-anything-new', '1', ':authority', 'h', ':path', '/', 'accept', 'a']
  assert.deepEqual(upstreamHeaders(headers), ['accept', 'a'])
})

test("the client's Host, Content-Length and Expect are replaced, not doubled", () => {
  assert.deepEqual(upstreamHeaders(['Host', 'sluice', 'Content-Length', '3', 'Expect', '100-continue', 'a', 'b']), [
    'a',
    'b',
  ])
})

test("Bedrock's own length and its repeated headers reach the client in their order and spelling", () => {
  const headers = ['Set-Cookie', 'a=1', 'X-Amzn-RequestId', 'r', 'set-cookie', 'b=2', 'Content-Length', '2']
  assert.deepEqual(downstreamHeaders(headers), headers)
})

test('what Bedrock has no say in stops at Sluice: its limits of clients, and where else they might go', () => {
  const headers = [
    'RateLimit',
    '"a";r=0',
    'ratelimit-policy',
    '"a";q=1',
    'Alt-Svc',
    'h3="evil:443"',
    'x-sluice-pool',
    'p',
  ]
  assert.deepEqual(downstreamHeaders([...headers, 'Date', 'd']), ['Date', 'd'])
})

test('whatever else a client sends passes: same names, same values, same order, repeats kept', t => {
  const dropped = /^(x-sluice-|:)/i
  const names = [...HOP_BY_HOP, ...CLIENTS_OWN, 'Host', 'Content-Length', 'Expect', 'X-Sluice-User', ':path'].concat(
    ...['Accept', 'anthropic-beta', 'X-Amzn-Bedrock-Trace', 'x-amz-user-agent', 'amz-sdk-request', 'X-Custom'],
  )
  const not = new Set([...HOP_BY_HOP, ...CLIENTS_OWN, 'Host', 'Content-Length', 'Expect'])
  const pairs = fc.array(fc.tuple(fc.constantFrom(...names), fc.constantFrom('a', 'b', 'close', '')))
  fc.assert(
    fc.property(pairs, all => {
      const kept = all.filter(([name]) => !not.has(name) && !dropped.test(name))
      assert.deepEqual(upstreamHeaders(all.flat()), kept.flat())
    }),
    seeded(t, 100),
  )
})

test('a header is found whatever its case, the first of several, and undefined is said for none', () => {
  assert.equal(headerValue(['A', '1', 'X-Amzn-ErrorType', 'one', 'x-amzn-errortype', 'two'], 'x-amzn-errortype'), 'one')
  assert.equal(headerValue(['value', 'x-amzn-errortype'], 'x-amzn-errortype'), undefined)
})
