import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import { errors } from 'jose'
import { KeysAway, RemoteKeySet } from '../../src/identity/keySet.ts'
import { type KeyServer, type SigningPair, signingPair, startKeyServer } from '../support/identityProvider.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { until } from '../support/wire.ts'

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

let first: SigningPair
let second: SigningPair
before(async () => {
  first = await signingPair('ES256', 'first')
  second = await signingPair('ES256', 'second')
})

interface Bench {
  server: KeyServer
  clock: VirtualClock
  keys: RemoteKeySet
  troubles: string[]
  find(kid: string): Promise<'found' | 'unknown' | number>
}

async function bench(t: TestContext): Promise<Bench> {
  const server = await startKeyServer([first.jwk])
  t.after(() => server.close())
  const clock = new VirtualClock()
  const troubles: string[] = []
  const keys = new RemoteKeySet({ url: server.url, clock, onTrouble: reason => troubles.push(reason) })
  /** A number: away, and when to come back. */
  const find = (kid: string) =>
    keys.keyFor({ alg: 'ES256', kid }).then(
      () => 'found' as const,
      error => {
        if (error instanceof errors.JWKSNoMatchingKey) return 'unknown' as const
        assert.ok(error instanceof KeysAway, String(error))
        return error.retryAfterMs
      },
    )
  return { server, clock, keys, troubles, find }
}

test('nothing is fetched before a token asks, and then once for all who ask', async t => {
  const { server, find } = await bench(t)
  assert.equal(server.fetches, 0)
  assert.deepEqual(await Promise.all([find('first'), find('first'), find('first')]), ['found', 'found', 'found'])
  assert.equal(server.fetches, 1)
})

test('a key that is new at the provider is found once ten seconds have passed since the last fetch, and is not refused till then', async t => {
  const { server, clock, find } = await bench(t)
  await find('first')
  await clock.advance(10 * SECOND_MS)
  assert.equal(await find('made-up'), 'unknown', 'a stranger has had the keys fetched')
  server.keys.push(second.jwk)
  await clock.advance(100)
  assert.equal(await find('second'), 9_900)
  await clock.advance(9_899)
  assert.equal(await find('second'), 1)
  await clock.advance(1)
  assert.equal(await find('second'), 'found')
  assert.equal(server.fetches, 3)
})

test('a key that is published while the keys are on their way is not refused either', async t => {
  const { server, find } = await bench(t)
  const before = find('made-up')
  await until(() => server.fetches === 1, 'they are on their way')
  server.keys.push(second.jwk)
  assert.deepEqual(await Promise.all([before, find('second'), find('made-up')]), ['unknown', 10_000, 'unknown'])
})

test('made-up key ids are no flood at the provider: one fetch in ten seconds', async t => {
  const { server, clock, find } = await bench(t)
  await find('first')
  for (let second = 0; second < 100; second++) {
    const expected = second < 10 ? 10_000 - second * SECOND_MS : 'unknown'
    for (let i = 0; i < 10; i++) assert.equal(await find(`made-up-${i}`), expected)
    await clock.advance(SECOND_MS)
  }
  assert.ok(server.fetches >= 10 && server.fetches <= 11, `${server.fetches} fetches`)
})

test('of made-up key ids so many are remembered: one that was forgotten is told to wait again', async t => {
  const { clock, find } = await bench(t)
  await find('first')
  assert.equal(await find('made-up'), 10_000)
  await clock.advance(10 * SECOND_MS)
  assert.equal(await find('made-up'), 'unknown')
  for (let i = 0; i < 1_000; i++) assert.equal(await find(`made-up-${i}`), 10_000)
  assert.equal(await find('made-up'), 10_000)
  assert.equal(await find('x'.repeat(257)), 'unknown', 'nor is one that is no id')
})

test('after ten minutes keys are fetched again beside the requests: one that was withdrawn ends', async t => {
  const { server, clock, find } = await bench(t)
  await find('first')
  server.keys = [second.jwk]
  await clock.advance(10 * MINUTE_MS)
  assert.equal(await find('first'), 'found')
  await clock.advance(1)
  assert.equal(await find('first'), 'found', 'nobody waits for the fetch')
  await until(() => server.fetches === 2, 'it was fetched again')
  await until(async () => (await find('first')) !== 'found', 'the old key is gone')
  await clock.advance(10 * SECOND_MS)
  assert.equal(await find('first'), 'unknown', 'and stays away')
})

for (const [manner, reason] of [
  ['error', /^status 500$/],
  ['html', /is not valid JSON$/],
  ['redirect', /redirect/],
  ['endless', /^more than 524288 bytes$/],
] as const) {
  test(`away (${manner}): who asks is told when to come back, and known keys go on for a day`, async t => {
    const { server, clock, find, troubles } = await bench(t)
    server.manner = manner
    assert.equal(await find('first'), 10 * SECOND_MS)
    await clock.advance(4 * SECOND_MS)
    assert.equal(await find('first'), 6 * SECOND_MS)
    assert.equal(server.fetches, 1, 'not asked again yet')
    assert.equal(troubles.length, 1)
    assert.match(troubles[0]!, reason)
    server.manner = 'well'
    await clock.advance(6 * SECOND_MS)
    assert.equal(await find('first'), 'found')
    server.manner = manner
    await clock.advance(DAY_MS)
    assert.equal(await find('first'), 'found')
    await until(() => troubles.length === 2, 'it was asked in vain')
    // Whether the provider has such a key by now is not known.
    assert.equal(await find('second'), 10 * SECOND_MS)
    await clock.advance(10 * SECOND_MS)
    assert.equal(await find('first'), 10 * SECOND_MS, 'older than a day')
  })
}

test('a provider that does not answer is given up after five seconds', async t => {
  const { server, clock, find, troubles } = await bench(t)
  server.manner = 'hang'
  const asked = find('first')
  await until(() => server.fetches === 1, 'it is asked')
  await clock.advance(5 * SECOND_MS)
  assert.equal(await asked, 10 * SECOND_MS)
  assert.deepEqual(troubles, ['no answer within 5000 ms'])
})

test('who brings unknown keys waits for one that does not answer the first time only, and is let in once it does', async t => {
  const { server, clock, find, troubles } = await bench(t)
  await find('first')
  server.manner = 'hang'
  await clock.advance(10 * SECOND_MS)
  const waits = find('second')
  await until(() => server.fetches === 2, 'it is asked')
  await clock.advance(5 * SECOND_MS)
  assert.equal(await waits, 10 * SECOND_MS)
  await clock.advance(10 * SECOND_MS)
  // Time does not pass by itself: whoever waited now would wait for ever.
  assert.equal(await find('second'), 5 * SECOND_MS)
  assert.equal(await find('second'), 5 * SECOND_MS)
  await until(() => server.fetches === 3, 'it is asked beside the requests')
  await clock.advance(5 * SECOND_MS)
  await until(() => troubles.length === 2, 'in vain')
  Object.assign(server, { manner: 'well', keys: [first.jwk, second.jwk] })
  await clock.advance(10 * SECOND_MS)
  await until(async () => (await find('second')) === 'found', 'the key is there')
  assert.equal(server.fetches, 4)
})

test('a provider that is not there at all is named in the reason, without a fault', async t => {
  const { server, find, troubles } = await bench(t)
  await server.close()
  assert.equal(await find('first'), 10 * SECOND_MS)
  assert.match(troubles[0]!, /ECONNREFUSED/)
})

test('keys that are private, or shared secrets, are none to verify with', async t => {
  const { server, find } = await bench(t)
  server.keys = [{ kty: 'oct', k: 'c2VjcmV0', kid: 'first', alg: 'HS256' }]
  assert.equal(await find('first'), 'unknown')
})
