// Guessing keys at a whole Sluice: after a few nobody from there is looked at, but for those who were right before.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { keySha256 } from '../../src/identity/keys.ts'
import { AT_ONCE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice } from '../support/sluice.ts'
import { assertRefusal, callHttp1 } from '../support/wire.ts'

const PROVEN = `sluice_${'p'.repeat(43)}`
const FRESH = `sluice_${'f'.repeat(43)}`
const UNKNOWN = { status: 403, exception: 'UnrecognizedClientException', code: 'unknown-key' }
const SHUT = { status: 429, exception: 'ThrottlingException', code: 'too-many-failures' }

before(() => forgetAwsEnvironment())

const yaml = (mode: string) =>
  oneModel(
    'simulator',
    '',
    `${AT_ONCE}
auth: { mode: ${mode} }
ingress: { failedIdentitiesPerMinute: 3 }
clients: [{ name: web, keySha256: [${keySha256(PROVEN)}, ${keySha256(FRESH)}] }]`,
  )

const wrong = (n: number) => ({ headers: { authorization: `Bearer sluice_${String(n).repeat(43)}` } })
const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })

test('guessing is slowed: after three wrong keys no new one is looked at, right ones included; one proven before goes on', async t => {
  const sluice = await startTestSluice(yaml('keys'))
  t.after(() => sluice.stop(0))
  assert.equal((await callHttp1(sluice.url, bearer(PROVEN))).status, 200)
  for (const n of [1, 2, 3]) assertRefusal(await callHttp1(sluice.url, wrong(n)), UNKNOWN)
  const refused = await callHttp1(sluice.url, bearer(FRESH))
  assertRefusal(refused, SHUT)
  const seconds = Number(refused.headers['retry-after'])
  assert.ok(seconds >= 1 && seconds <= 60, `${seconds}`)
  assert.equal((await callHttp1(sluice.url, bearer(PROVEN))).status, 200)
  assertRefusal(await callHttp1(sluice.url, { headers: {} }), SHUT)
})

test('the log tells who guesses: its address, the access key id it names, and nothing secret', async t => {
  const sluice = await startTestSluice(
    yaml('keys').replace('ingress:', 'server: { trustedProxies: [loopback] }\ningress:'),
  )
  t.after(() => sluice.stop(0))
  const signedBy = (id: string, service = 'bedrock') =>
    `AWS4-HMAC-SHA256 Credential=${id}/20261122/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}`
  const from = (last: number, authorization: string) =>
    callHttp1(sluice.url, { headers: { 'x-forwarded-for': `203.0.113.${last}`, authorization } })
  await from(1, signedBy('SLUICEJ3ORYZSNHPAACK'))
  await from(2, signedBy('wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY'))
  await from(5, signedBy('SLUICEJ3ORYZSNHPAACK', 'EXAMPLEKEY'))
  await from(3, wrong(3).headers.authorization)
  await from(4, bearer(PROVEN).headers.authorization)
  for (const _ of [1, 2, 3]) await from(3, wrong(3).headers.authorization)
  const lines = sluice.logged().filter(line => line.msg === 'refused')
  assert.deepEqual(
    lines.map(({ refusal, address, accessKeyId }) => [refusal, address, accessKeyId].join(' ').trim()),
    [
      'incomplete-signature 203.0.113.1 SLUICEJ3ORYZSNHPAACK',
      'incomplete-signature 203.0.113.2',
      'bad-signature 203.0.113.5 SLUICEJ3ORYZSNHPAACK',
      'unknown-key 203.0.113.3',
      'unknown-key 203.0.113.3',
      'unknown-key 203.0.113.3',
      'too-many-failures 203.0.113.3',
    ],
  )
  assert.doesNotMatch(JSON.stringify(sluice.logged()), /sluice_|EXAMPLEKEY/)
})

test('it is slowed from the moment that a reload asks for keys', async t => {
  const sluice = await startTestSluice(yaml('open'))
  t.after(() => sluice.stop(0))
  for (const n of [1, 2, 3, 4]) assert.equal((await callHttp1(sluice.url, wrong(n))).status, 200)
  const next = parseConfig(yaml('keys'), 'test.yaml', { PORT: '0' })
  assert.ok(next.kind === 'ok')
  assert.deepEqual(sluice.reload(next.config), [])
  for (const n of [1, 2, 3]) assertRefusal(await callHttp1(sluice.url, wrong(n)), UNKNOWN)
  assertRefusal(await callHttp1(sluice.url, wrong(4)), SHUT)
})
