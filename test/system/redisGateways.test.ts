// Whole gateways that share one Redis, on real sockets: what clients and operators see of it.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { after, before, test } from 'node:test'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { AT_ONCE } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { callHttp1, type Reply, until, useTestCredentials } from '../support/wire.ts'

const AWAY_MS = 10_000
const PLENTY = 'requestsPerMinute: 60000'

/** Restarted empty by each test: they share a model's name. */
let redis: TestRedis
before(async () => {
  useTestCredentials()
  redis = await startRedis()
})
after(() => redis.stop())

async function json(url: string, path: string) {
  return JSON.parse((await callHttp1(url, { method: 'GET', path })).body.toString())
}

async function isReady(sluice: TestSluice, status: 'ready' | 'degraded'): Promise<void> {
  await until(async () => (await json(sluice.url, '/readyz')).status === status, `it is ${status}`, AWAY_MS)
}

/** Two gateways in front of the simulator of the first. */
async function twoGateways(t: { after(task: () => Promise<void>): void }, quotas: string): Promise<TestSluice[]> {
  const yaml = (endpoint: string) => oneModel(endpoint, quotas, `${AT_ONCE}\nredis: { url: "${redis.url}" }`)
  const first = await startTestSluice(yaml('simulator'))
  const second = await startTestSluice(yaml(first.simulatorUrl!))
  t.after(async () => {
    await second.stop(0)
    await first.stop(0)
  })
  return [first, second]
}

const statuses = (replies: Reply[]) => [...new Set(replies.map(reply => reply.status))]

test('while Redis is killed requests are answered all the same and /readyz says degraded, until it is back', async t => {
  const gateways = await twoGateways(t, PLENTY)
  const calls = () => Promise.all([0, 1, 0, 1, 0, 1].map(i => callHttp1(gateways[i]!.url)))
  const replies = await calls()
  assert.deepEqual(statuses(replies), [200])
  for (const { headers } of replies) {
    assert.equal(headers['x-sluice-pool'], 'only')
    assert.match(String(headers['x-sluice-wait-ms']), /^\d+$/)
  }
  for (const gateway of gateways) {
    await isReady(gateway, 'ready')
    const { ledger, models } = await json(gateway.url, '/status')
    assert.deepEqual(ledger, { kind: 'redis', backlog: { depth: 0, limit: 10_000 } })
    assert.deepEqual([models[0].gateways, models[0].inFlight, models[0].waiting], [2, 0, 0])
  }
  await redis.kill()
  assert.deepEqual(statuses(await calls()), [200])
  for (const gateway of gateways) await isReady(gateway, 'degraded')
  assert.deepEqual(statuses(await calls()), [200])
  const { ledger, models } = await json(gateways[0]!.url, '/status')
  assert.equal(ledger.kind, 'redis')
  assert.ok(ledger.degraded && models[0].degraded)
  await redis.start()
  for (const gateway of gateways) await isReady(gateway, 'ready')
  assert.deepEqual(statuses(await calls()), [200])
  const said = gateways[0]!.logged().map(line => line.msg)
  assert.ok(said.includes('Redis is away: this gateway is on its own'))
  assert.ok(!said.includes('fault'))
})

test('one who waits at one gateway has its turn when another gateway gives tokens back', async t => {
  await redis.restart()
  const gateways = await twoGateways(t, 'tokensPerMinute: 30000')
  const full = async () => (await json(gateways[0]!.url, '/status')).models[0].pools[0].tokens.level >= 500
  await until(full, 'some tokens are there', AWAY_MS)
  const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => callHttp1(gateways[i % 2]!.url)))
  assert.deepEqual(statuses(replies), [200])
  for (const gateway of gateways) {
    const { models } = await json(gateway.url, '/status')
    assert.deepEqual([models[0].waiting, models[0].inFlight], [0, 0])
  }
})

test('a gateway that stops leaves nothing in flight for the others', async t => {
  await redis.restart()
  const gateways = await twoGateways(t, PLENTY)
  await Promise.all(Array.from({ length: 10 }, () => callHttp1(gateways[1]!.url)))
  await gateways[1]!.stop(0)
  const inFlight = async () => (await json(gateways[0]!.url, '/status')).models[0].inFlight
  await until(async () => (await inFlight()) === 0, 'nothing is in flight')
})

test('what a gateway cuts when its grace is over is settled for the others, and gives back its client’s place', async t => {
  await redis.restart()
  const held: ServerResponse[] = []
  const bedrock = await startFakeBedrock((_request, response) => held.push(response))
  const yaml = oneModel(
    bedrock.url,
    PLENTY,
    `clients: [{ name: open, limits: { concurrent: 1 } }]\nredis: { url: "${redis.url}" }`,
  )
  const [first, second] = [await startTestSluice(yaml), await startTestSluice(yaml)]
  t.after(async () => {
    await bedrock.close()
    await first.stop(0)
  })
  const cut = callHttp1(second.url).catch(() => 'cut')
  await until(() => held.length === 1, 'it is in flight')
  assert.equal(await second.stop(0), 1)
  assert.equal(await cut, 'cut')
  assert.equal((await json(first.url, '/status')).models[0].inFlight, 0)
  const next = callHttp1(first.url)
  await until(() => held.length === 2, 'its client is let in by the other at once')
  held[1]!.end('{}')
  assert.equal((await next).status, 200)
})

interface Reloadable extends ChildSluice {
  reload(yaml: string): void
}

async function startReloadable(t: { after(task: () => void): void }, yaml: string, extra = {}): Promise<Reloadable> {
  const child = await startChildSluice(yaml, { LOG_LEVEL: 'info', ...extra })
  t.after(() => child.process.kill('SIGKILL'))
  const reload = (text: string) => {
    writeFileSync(child.process.spawnargs.at(-1)!, text)
    child.process.kill('SIGHUP')
  }
  return { ...child, reload }
}

async function waits(url: string, count: number): Promise<void> {
  await until(async () => (await json(url, '/status')).models[0].waiting === count, `${count} waits`)
}

const SCARCE = 'requestsPerMinute: 1'

test('REDIS_URL alone shares the ledger; SIGHUP takes over a quota without losing who waits', async t => {
  await redis.restart()
  const child = await startReloadable(t, oneModel('simulator', SCARCE, AT_ONCE), { REDIS_URL: redis.url })
  await until(() => new RegExp(`ledger +Redis at ${redis.url}`).test(child.output()), 'it says which ledger')
  const reply = callHttp1(child.url)
  await waits(child.url, 1)
  // The simulator has its own quota from the start: a request a minute, and none has been sent.
  child.reload(oneModel('simulator', PLENTY, AT_ONCE))
  assert.equal((await reply).status, 200)
  await until(() => child.output().includes('config reloaded'), 'it says so')
})

test('a faulty config at SIGHUP changes nothing and says what is wrong', async t => {
  await redis.restart()
  const good = oneModel('simulator', PLENTY, AT_ONCE)
  const child = await startReloadable(t, good, { REDIS_URL: redis.url })
  child.reload('models: nonsense')
  await until(() => /expected a list.*config not reloaded/s.test(child.output()), 'it says so')
  assert.equal((await callHttp1(child.url)).status, 200)
  child.reload(`${good}\nserver: { idleTimeoutMs: 1000 }`)
  await until(() => child.output().includes('"needRestart":["server"]'), 'it says what takes a restart')
})

// The gateway looks for the pool in the settings that held when the request came: the connection is dropped.
test('one who waits may go to a pool that came with a reload', async t => {
  await redis.restart()
  const child = await startReloadable(t, oneModel('simulator', SCARCE, AT_ONCE), { REDIS_URL: redis.url })
  const reply = callHttp1(child.url)
  await waits(child.url, 1)
  const pools = (text: string) =>
    text.replace('pools: [', `pools: [{ name: new, region: us-east-1, endpoint: simulator, ${PLENTY} }, `)
  child.reload(pools(oneModel('simulator', SCARCE, AT_ONCE)))
  const { status, headers } = await reply
  assert.deepEqual([status, headers['x-sluice-pool']], [200, 'new'])
})
