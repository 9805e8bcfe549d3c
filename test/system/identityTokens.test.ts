// Tokens of an identity provider through the whole program: real keys, a JWKS on a real socket, the AWS SDK.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { exportSPKI } from 'jose'
import { keySha256 } from '../../src/identity/keys.ts'
import {
  AUDIENCE,
  type Claims,
  ISSUER,
  type KeyServer,
  rightClaims,
  type SigningPair,
  signed,
  signingPair,
  startKeyServer,
} from '../support/identityProvider.ts'
import { settledAfter, statusOf } from '../support/settled.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { assertRefusal, CONVERSE, call, callHttp1, PROTOCOLS, until } from '../support/wire.ts'

const KEY = `sluice_${'k'.repeat(43)}`
const UNKNOWN = { status: 403, exception: 'UnrecognizedClientException', code: 'unknown-key' }
const EXPIRED = { status: 403, exception: 'ExpiredTokenException', code: 'expired-token' }
const UNCONFIRMED = { status: 503, exception: 'ServiceUnavailableException', code: 'unconfirmed-key' }
const AWAY = { status: 503, exception: 'ServiceUnavailableException', code: 'identity-unavailable' }

let rsa: SigningPair
let ec: SigningPair
let server: KeyServer
let sluice: TestSluice

function yaml(jwksUrl: string): string {
  return oneModel(
    'simulator',
    '',
    `${AT_ONCE}
ingress: { failedIdentitiesPerMinute: 1000000 }
auth:
  mode: keys
  jwt: { issuer: "${ISSUER}", audience: ${AUDIENCE}, jwksUrl: "${jwksUrl}", priorityClaim: class }
clients:
  - { name: web, maxPriority: normal }
  - { name: batch, jwtClientIds: [0b8d-guid], keySha256: ${keySha256(KEY)} }`,
  )
}

before(async () => {
  forgetAwsEnvironment()
  rsa = await signingPair('RS256', 'rsa')
  ec = await signingPair('ES256', 'ec')
  server = await startKeyServer([rsa.jwk, ec.jwk])
  sluice = await startTestSluice(yaml(server.url))
})
after(async () => {
  await sluice.stop(0)
  await server.close()
})

const claims = (other: Claims = {}): Claims => ({ ...rightClaims(Date.now()), ...other })
const bearer = (token: string, more: Record<string, string> = {}) => ({
  headers: { authorization: `Bearer ${token}`, ...more },
})

async function flowOf(use: () => Promise<unknown>): Promise<unknown[]> {
  const [line] = (await settledAfter(sluice, 1, async () => void (await use()))) as unknown as Record<string, unknown>[]
  return [line!.client, line!.user, line!.priority]
}

test('a token as AWS_BEARER_TOKEN_BEDROCK: its claims are the client and the user', async t => {
  for (const pair of [rsa, ec]) {
    process.env.AWS_BEARER_TOKEN_BEDROCK = await signed(pair, claims())
    t.after(() => delete process.env.AWS_BEARER_TOKEN_BEDROCK)
    const client = new BedrockRuntimeClient({ region: 'us-east-1', endpoint: sluice.url, maxAttempts: 1 })
    t.after(() => client.destroy())
    const ask = new ConverseCommand({ modelId: CLAUDE, messages: [{ role: 'user', content: [{ text: 'Hello' }] }] })
    assert.deepEqual(await flowOf(() => client.send(ask)), ['web', 'ann', 'normal'])
  }
})

test('a token’s user stands whatever the header says; one of an app without a user names its own', async () => {
  const token = await signed(rsa, claims())
  const of = (what: string, more: Record<string, string>) => flowOf(() => callHttp1(sluice.url, bearer(what, more)))
  assert.deepEqual(await of(token, { 'x-sluice-user': 'bob' }), ['web', 'ann', 'normal'])
  const app = await signed(rsa, claims({ sub: undefined, azp: '0b8d-guid' }))
  assert.deepEqual(await of(app, { 'x-sluice-user': 'bob' }), ['batch', 'bob', 'normal'])
  assert.deepEqual(await of(app, {}), ['batch', 'batch', 'normal'])
})

test('a token’s class is the highest it may ask for, and never above its client’s', async () => {
  const of = async (other: Claims, asked?: string) => {
    const token = await signed(rsa, claims(other))
    const flow = await flowOf(() => callHttp1(sluice.url, bearer(token, asked ? { 'x-sluice-priority': asked } : {})))
    return flow[2]
  }
  assert.equal(await of({ class: 'low' }), 'low')
  assert.equal(await of({ class: 'low' }, 'high'), 'low')
  assert.equal(await of({ class: 'high' }), 'normal')
  assert.equal(await of({ class: 'high', azp: '0b8d-guid' }), 'high')
  assert.equal(await of({ class: 'high', azp: '0b8d-guid' }, 'low'), 'low')
})

test('keys go on beside tokens', async () => {
  assert.deepEqual(await flowOf(() => callHttp1(sluice.url, bearer(KEY))), [
    'batch',
    `key-${keySha256(KEY).slice(0, 12)}`,
    'normal',
  ])
})

for (const protocol of PROTOCOLS) {
  test(`${protocol}: what is wrong with a token is told in Bedrock’s shape, and never its bytes`, async () => {
    const other = await signingPair('RS256', 'rsa')
    const right = await signed(rsa, claims())
    const pem = await exportSPKI(rsa.publicKey)
    const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const confused = `${b64({ alg: 'HS256', kid: 'rsa' })}.${b64(claims())}`
    const cases: [string, string, RegExp][] = [
      ['none', `${b64({ alg: 'none' })}.${b64(claims())}.`, /is invalid\.$/],
      ['HS256', `${confused}.${createHmac('sha256', pem).update(confused).digest('base64url')}`, /is invalid\.$/],
      ['another’s key', await signed(other, claims()), /is invalid\.$/],
      ['cut', right.slice(0, -4), /is invalid\.$/],
      ['audience', await signed(rsa, claims({ aud: 'other' })), /is invalid: its aud is another\.$/],
      ['issuer', await signed(rsa, claims({ iss: 'https://evil' })), /is invalid: its iss is another\.$/],
      ['not yet', await signed(rsa, claims({ nbf: Date.now() / 1000 + 90 })), /is invalid: it is not valid yet\.$/],
      ['no such client', await signed(rsa, claims({ azp: 'other' })), /no client is called what its azp says\.$/],
    ]
    for (const [what, token, says] of cases) {
      const reply = await call(protocol, sluice.url, bearer(token))
      assert.match(assertRefusal(reply, UNKNOWN), says, what)
      assert.ok(!reply.body.toString().includes(token.slice(-20)))
      const logged = sluice.logged().findLast(line => line.msg === 'refused')!
      assert.match(String(logged.reason), says, 'its operator is told as well')
    }
    const expired = await call(protocol, sluice.url, bearer(await signed(rsa, claims({ exp: Date.now() / 1000 - 60 }))))
    assert.match(assertRefusal(expired, EXPIRED), /is expired$/)
    assert.ok(!JSON.stringify(sluice.logged()).includes(right.slice(-20)))
  })
}

test('the provider away: who is known goes on, who is not is told when to come back, and comes in once it is there', async t => {
  const away = await startKeyServer([ec.jwk])
  t.after(() => away.close())
  const own = await startTestSluice(yaml(away.url))
  t.after(async () => void (await own.stop(0)))
  const known = await signed(ec, claims())
  assert.equal((await callHttp1(own.url, bearer(known))).status, 200)
  away.manner = 'error'
  const young = await signingPair('ES256', 'young')
  // Asked for at the provider ten seconds ago or less: it may have been published since.
  assert.match(
    assertRefusal(await callHttp1(own.url, bearer(await signed(young, claims()))), UNCONFIRMED),
    /not known yet/,
  )
  assert.equal((await callHttp1(own.url, bearer(known))).status, 200)

  away.keys = [young.jwk]
  const cold = await startTestSluice(yaml(away.url))
  t.after(async () => void (await cold.stop(0)))
  const refused = await callHttp1(cold.url, bearer(known))
  assert.match(assertRefusal(refused, AWAY), /identity provider cannot be reached/)
  const ms = Number(refused.headers['retry-after-ms'])
  assert.ok(ms > 0 && ms <= 10_000)
  assert.equal(refused.headers['retry-after'], String(Math.ceil(ms / 1000)))
  assert.ok(cold.logged().some(line => line.reason === 'status 500'))
  assert.equal((await callHttp1(cold.url, bearer(KEY))).status, 200, 'keys need no provider')
})

test('who waits for the provider’s keys is counted in the stage identify, and is bounded', async t => {
  const slow = await startKeyServer([ec.jwk])
  slow.manner = 'hang'
  const own = await startTestSluice(yaml(slow.url))
  const token = await signed(ec, claims())
  const one = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Length: 2\r\n\r\n{}`
  // As many as may stand in a connection.
  const sockets = [...Array.from({ length: 32 }, () => 32), 1].map(requests =>
    net
      .connect(Number(new URL(own.url).port), '127.0.0.1')
      .on('error', () => {})
      .setNoDelay(true)
      .resume()
      .on('connect', function (this: net.Socket) {
        this.write(one.repeat(requests))
      }),
  )
  const identify = async () =>
    ((await statusOf(own)) as unknown as { stages: { stage: string }[] }).stages.find(one => one.stage === 'identify')
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await slow.close()
    await own.stop(0)
  })
  const busy = () => own.logged().filter(line => line.refusal === 'identity-unavailable')
  await until(() => busy().length > 0, 'one more of the same token does not wait')
  assert.equal(busy().length, 1)
  assert.deepEqual(await identify(), { stage: 'identify', depth: 1_024, limit: 1_024 })
  const refused = await callHttp1(own.url, bearer(await signed(ec, claims({ sub: 'another' }))))
  assert.match(assertRefusal(refused, AWAY), /Too many tokens/)
  assert.equal((await callHttp1(own.url, bearer(KEY))).status, 200)
})
