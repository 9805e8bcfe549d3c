// Calls shared by replicas over a real Redis: two coalescers that know nothing of each other but through it.
import assert from 'node:assert/strict'
import { after, before, beforeEach, type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import type { RedisLink } from '../../src/redis/connection.ts'
import { RedisFlights } from '../../src/redis/flights.ts'
import { systemClock } from '../../src/system.ts'
import { type Ask, type Client, World } from '../gateway/sharedCalls.ts'
import { startRedisCluster } from '../support/redisCluster.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'

const MEGABYTE = 'x'.repeat(1024 * 1024)

let redis: TestRedis
let admin: Redis
before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url, { maxRetriesPerRequest: null })
  admin.on('error', () => {})
})
beforeEach(() => admin.flushall())
after(async () => {
  admin.disconnect()
  await redis.stop()
})

let replicas = 0

interface Replica extends World {
  /** Its process is gone: it says nothing more. */
  die(): void
  /** It stops as it should. */
  close(): Promise<void>
}

function replicaOver(t: TestContext, link: RedisLink): Replica {
  replicas += 1
  const flights = new RedisFlights({ link, gateway: `gw${replicas}`, clock: systemClock })
  t.after(() => flights.stop())
  return Object.assign(new World(flights, systemClock), { die: () => flights.stop(), close: () => flights.close() })
}

async function twoReplicas(t: TestContext, url = redis.url): Promise<[Replica, Replica]> {
  return [replicaOver(t, await upLink(url)), replicaOver(t, await upLink(url))]
}

/** One who leads at the first and makes the call. */
async function leads(replica: Replica, ask: Ask = {}): Promise<Client> {
  const calls = replica.calls.length
  const client = replica.start(ask)
  await until(() => replica.calls.length > calls, 'the call is made')
  return client
}

/** Long enough for a claim that would lead to a call of its own. */
async function follows(replica: Replica, ask: Ask = {}): Promise<Client> {
  const client = replica.start(ask)
  await until(async () => (await admin.keys('*:followed:*')).length > 0, 'it follows')
  return client
}

const hears = (client: Client, text: string) =>
  until(() => client.text === text, `it hears ${text}, not ${client.text}`)
const ends = (client: Client) => until(() => client.finished !== undefined, 'it ends')
const noKeys = async () => (await admin.keys('*')).length === 0

test('one replica makes the call, the other hears it live from its start, and one pays', async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const early = await follows(two)
  one.last.invocation.granted!()
  one.last.head()
  one.last.data('wa')
  await hears(early, 'wa')
  const late = two.start()
  await hears(late, 'wa')
  one.last.data('ter')
  await hears(early, 'water')
  one.last.end()
  for (const client of [leader, early, late]) await ends(client)
  assert.deepEqual([one.calls.length, two.calls.length], [1, 0])
  for (const client of [leader, early, late]) assert.deepEqual([client.text, client.ending], ['water', 'whole'])
  assert.deepEqual([leader.finished!.chargedTokens, leader.notes!.coalesced], [50, undefined])
  for (const { finished, notes } of [early, late]) {
    assert.deepEqual([finished!.chargedTokens, finished!.attempts, finished!.coalesced], [0, 0, true])
    assert.deepEqual([notes!.coalesced, notes!.pool, notes!.attempts], [true, 'only', 0])
  }
})

test('bytes of every kind, in chunks of every size, arrive as they were', async t => {
  const [one, two] = await twoReplicas(t)
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 256))
  const leader = await leads(one)
  const follower = await follows(two)
  one.last.head()
  for (let at = 0, size = 1; at < sent.length; at += size, size = (size * 3) % 70_001)
    one.last.data(sent.subarray(at, at + size))
  one.last.end()
  await ends(follower)
  assert.equal(follower.ending, 'whole')
  assert.ok(Buffer.concat(follower.chunks).equals(sent))
  assert.ok(Buffer.concat(leader.chunks).equals(sent))
})

test('a call that nobody else follows leaves Redis nothing but a claim, and at its end nothing', async t => {
  const [one] = await twoReplicas(t)
  const leader = await leads(one)
  one.last.head()
  one.last.data('water')
  assert.deepEqual((await admin.keys('*:frames:*')).length, 0)
  one.last.end()
  await ends(leader)
  await until(noKeys, 'no keys, long before they would expire', 1_000)
})

test('an answer that ended before the others were heard of is told all the same', async t => {
  const [one, two] = await twoReplicas(t)
  await leads(one)
  const follower = two.start()
  // Not one turn of the event loop after the claim was made.
  await until(async () => (await admin.keys('*:followed:*')).length > 0, 'it follows')
  one.last.whole('wa', 'ter')
  await ends(follower)
  assert.deepEqual([follower.text, follower.ending, two.calls.length], ['water', 'whole', 0])
})

test('a leader that leaves does not end the call of those elsewhere; when they leave too, it ends', async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const follower = await follows(two)
  one.last.head()
  one.last.data('wa')
  await hears(follower, 'wa')
  leader.leave()
  // Beyond a beat and more than a follower counts unheard of.
  await new Promise(resolve => setTimeout(resolve, 4_000))
  one.last.data('ter')
  await hears(follower, 'water')
  assert.equal(one.last.isAbandoned, false)
  follower.leave()
  await until(() => one.last.isAbandoned, 'the call is given up', 10_000)
  await until(noKeys, 'no keys')
})

test('a leader that is refused has the others try again together, once', async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const others = [one.start(), await follows(two), two.start()]
  const before = await admin.keys('*:followed:*')
  one.last.refuse('upstream-unreachable')
  const calls = () => [...one.calls, ...two.calls]
  await until(() => calls().length === 2, 'one new call')
  const isNew = (key: string) => !before.includes(key)
  await until(async () => (await admin.keys('*:followed:*')).some(isNew), 'the other replica follows')
  for (const call of calls().slice(0)) if (call !== one.calls[0]) call.whole('water')
  for (const client of others) await ends(client)
  assert.deepEqual(
    others.map(({ text, ending }) => [text, ending]),
    others.map(() => ['water', 'whole']),
  )
  assert.deepEqual([leader.ending, calls().length], ['upstream-unreachable', 2])
})

test('whoever follows one that left before it made the call makes it instead, at once', async t => {
  const [one, two] = await twoReplicas(t)
  for (let i = 0; i < 20; i++) {
    const body = `${i}`
    const gone = one.start({ body })
    const stays = two.start({ body })
    gone.leave()
    await until(() => two.calls.length === i + 1, 'it makes the call', 1_000)
    two.last.whole('water')
    await ends(stays)
    assert.deepEqual([stays.text, stays.ending, one.calls.length], ['water', 'whole', 0])
  }
})

for (const when of ['before', 'after'] as const)
  test(`a replica that dies ${when} the first byte: ${when === 'before' ? 'the others make a new call' : 'its followers are cut'}`, async t => {
    const [one, two] = await twoReplicas(t)
    await leads(one)
    const followers = [await follows(two), two.start()]
    if (when === 'after') {
      one.last.head()
      one.last.data('wa')
      for (const client of followers) await hears(client, 'wa')
    }
    one.die()
    if (when === 'before') {
      await until(() => two.calls.length === 1, 'a new call', 10_000)
      two.last.whole('water')
    }
    for (const client of followers) await until(() => client.finished !== undefined, 'it ends', 10_000)
    const wanted = when === 'before' ? ['water', 'whole'] : ['wa', 'cut']
    assert.deepEqual(
      followers.map(({ text, ending }) => [text, ending]),
      [wanted, wanted],
    )
  })

test('a replica that stops tells what has ended first', async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const follower = await follows(two)
  one.last.whole(...Array.from({ length: 40 }, () => MEGABYTE.slice(0, 65_536)))
  await ends(leader)
  await one.close()
  await ends(follower)
  assert.deepEqual([follower.ending, follower.text.length], ['whole', 40 * 65_536])
})

test('once the call has its turn nobody waits any longer, here or elsewhere', async t => {
  const [one, two] = await twoReplicas(t)
  await leads(one)
  const followers = [await follows(two, { maxWaitMs: 400 }), two.start({ maxWaitMs: 400 })]
  one.last.invocation.granted!()
  const late = two.start({ maxWaitMs: 400 })
  await new Promise(resolve => setTimeout(resolve, 600))
  one.last.whole('water')
  for (const client of [...followers, late]) await ends(client)
  for (const { text, ending } of [...followers, late]) assert.deepEqual([text, ending], ['water', 'whole'])
})

test('without Redis each replica shares within itself, and what it had begun goes on', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  const [one, two] = await twoReplicas(t, own.url)
  const before = await leads(one)
  await own.kill()
  const clients = [await leads(two, { body: 'other' }), two.start({ body: 'other' })]
  one.last.whole('water')
  two.last.whole('fire')
  for (const client of [before, ...clients]) await ends(client)
  assert.deepEqual(
    [before, ...clients].map(({ text, ending }) => [text, ending]),
    [
      ['water', 'whole'],
      ['fire', 'whole'],
      ['fire', 'whole'],
    ],
  )
})

test('a Redis that is silent for a moment delays bytes, and neither loses nor doubles any', async t => {
  const [one, two] = await twoReplicas(t)
  await leads(one)
  const follower = await follows(two)
  one.last.head()
  one.last.data('wa')
  await hears(follower, 'wa')
  redis.pause()
  let rest = ''
  for (let i = 0; i < 20; i++) {
    one.last.data(`${i} `)
    rest += `${i} `
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  redis.resume()
  one.last.end()
  await until(() => follower.finished !== undefined, 'it ends', 10_000)
  assert.deepEqual([follower.text, follower.ending], [`wa${rest}`, 'whole'])
})

test('hints that are lost cost a moment', async t => {
  const deaf = (link: RedisLink): RedisLink => Object.assign(Object.create(link), { subscribe: () => () => {} })
  const run = (link: RedisLink): RedisLink =>
    new Proxy(link, {
      get: (target, name) => {
        if (name === 'subscribe') return deaf(target).subscribe
        const value = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const one = replicaOver(t, run(await upLink(redis.url)))
  const two = replicaOver(t, run(await upLink(redis.url)))
  await leads(one)
  const follower = await follows(two)
  one.last.head()
  one.last.data('wa')
  await hears(follower, 'wa')
  one.last.end()
  await ends(follower)
  assert.deepEqual([follower.text, follower.ending], ['wa', 'whole'])
})

test('while all who read elsewhere are slow their part waits in Redis', async t => {
  const [one, two] = await twoReplicas(t)
  await leads(one)
  const slow = await follows(two, { takes: 0 })
  one.last.head()
  await until(() => slow.status === 200, 'the head')
  for (let part = 0; part < 48; part++) one.last.data(MEGABYTE.slice(0, 65_536))
  one.last.end()
  const told = async () => {
    const [frames] = await admin.keys('*:frames:*')
    return frames && Number(await admin.memory('USAGE', frames, 'SAMPLES', 0)) > 3 * MEGABYTE.length
  }
  await until(async () => (await told()) === true, 'all is told')
  const { bytes } = two.kept
  // It says now and then that it is there, and takes nothing with that.
  await new Promise(resolve => setTimeout(resolve, 2_500))
  assert.equal(two.kept.bytes, bytes)
  assert.ok(bytes < MEGABYTE.length, `${bytes} bytes kept`)
  slow.takes = Number.POSITIVE_INFINITY
  slow.flow!.resume()
  await ends(slow)
  assert.deepEqual([slow.ending, slow.text.length], ['whole', 3 * MEGABYTE.length])
})

test('a claim whose call is lost is nobody’s', async t => {
  const [one, two] = await twoReplicas(t)
  await leads(one)
  const lost = (await admin.keys('*')).filter(key => !key.endsWith(':claim'))
  assert.equal(lost.length, 1)
  await admin.del(lost)
  await leads(two)
})

test('a long answer keeps a bounded part in Redis; a slow reader elsewhere stalls nobody and is cut', {
  timeout: 60_000,
}, async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const slow = await follows(two, { takes: 0 })
  const fast = two.start()
  one.last.head()
  let most = 0
  for (let count = 0; count < 12; count++) {
    for (let part = 0; part < 16; part++) one.last.data(MEGABYTE.slice(0, 65_536))
    await until(() => fast.text.length === (count + 1) * MEGABYTE.length, 'it follows', 10_000)
    const [frames] = await admin.keys('*:frames:*')
    if (frames) most = Math.max(most, Number(await admin.memory('USAGE', frames, 'SAMPLES', 0)))
  }
  one.last.end()
  for (const client of [leader, slow, fast]) await until(() => client.finished !== undefined, 'it ends', 10_000)
  assert.deepEqual([leader.ending, fast.ending, fast.text.length], ['whole', 'whole', 12 * MEGABYTE.length])
  assert.equal(slow.ending, 'cut')
  assert.ok(most > 1024 * 1024 && most < 8 * 1024 * 1024, `${most} bytes in Redis`)
})

test('in a Cluster too', { timeout: 120_000 }, async t => {
  const cluster = await startRedisCluster()
  t.after(() => cluster.stop())
  const [one, two] = await twoReplicas(t, cluster.url)
  for (let i = 0; i < 6; i++) {
    const body = `${i}`
    const leader = await leads(one, { body })
    const follower = two.start({ body })
    one.last.head()
    one.last.data('wa')
    await hears(follower, 'wa')
    one.last.data('ter')
    one.last.end()
    await ends(follower)
    assert.deepEqual([follower.text, follower.ending, leader.text, two.calls.length], ['water', 'whole', 'water', 0])
  }
})

test('a frame that is damaged, or of another version, is a call that was lost: it is told, and nothing else breaks', async t => {
  const [one, two] = await twoReplicas(t)
  const leader = await leads(one)
  const follower = await follows(two)
  const [followed] = await admin.keys('*:followed:*')
  await admin.rpush(followed!.replace(':followed:', ':frames:'), 'h[200,')
  await ends(follower)
  assert.equal(follower.ending, 'upstream-cut')
  one.last.whole('water')
  await ends(leader)
  assert.equal(leader.ending, 'whole')
})
