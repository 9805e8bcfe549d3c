// What addresses do, counted by several gateways together in a real Redis, and by each alone while it is away.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { AddressLimiter } from '../../src/http/addressLimiter.ts'
import { addressCounts } from '../../src/redis/addressCounts.ts'
import { systemClock } from '../../src/system.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'

let server: TestRedis
const apps: FastifyInstance[] = []
before(async () => {
  server = await startRedis()
})
after(async () => {
  for (const app of apps) await app.close()
  await server.stop()
})

let names = 0
const newName = () => `test-${++names}`

async function limiter(name: string, max: number, link: Awaited<ReturnType<typeof upLink>>) {
  const calls: boolean[] = []
  const shared = addressCounts({ link, clock: systemClock, onCall: (_call, _ms, ok) => calls.push(ok) })
  const one = new AddressLimiter({ name, max, shared, clock: systemClock })
  const app = Fastify()
  apps.push(app)
  app.register(async scope => one.install(scope))
  await app.ready()
  return { one, calls }
}

test('gateways count together, each address and each limit by itself, and a key lives no longer than its minute', async t => {
  const [name, other] = [newName(), newName()]
  const [first, second] = [
    await limiter(name, 2, await upLink(server.url)),
    await limiter(name, 2, await upLink(server.url)),
  ]
  assert.equal(await first.one.count('8.8.8.8'), undefined)
  assert.equal(await second.one.count('8.8.8.8'), undefined)
  assert.ok((await first.one.count('8.8.8.8'))! > 0)
  assert.ok((await second.one.count('8.8.8.8'))! <= 60_000)
  assert.equal(await second.one.count('9.9.9.9'), undefined)
  const third = await limiter(other, 2, await upLink(server.url))
  assert.equal(await third.one.count('8.8.8.8'), undefined)
  const redis = new Redis(server.url)
  t.after(() => redis.disconnect())
  const keys = await redis.keys('*')
  assert.deepEqual(
    keys.toSorted(),
    [`${name}:8.8.8.8`, `${name}:9.9.9.9`, `${other}:8.8.8.8`].map(key => `sluice:2:address:${key}`),
  )
  for (const key of keys) {
    const leftMs = await redis.pttl(key)
    assert.ok(leftMs > 0 && leftMs <= 60_000, `${key}: ${leftMs}`)
  }
})

test('who is over is known without another call to Redis', async () => {
  const { one, calls } = await limiter(newName(), 1, await upLink(server.url))
  await one.count('8.8.8.8')
  assert.equal(one.overMs('8.8.8.8'), undefined)
  await one.count('8.8.8.8')
  assert.ok(one.overMs('8.8.8.8')! > 0)
  assert.equal(one.overMs('9.9.9.9'), undefined)
  assert.deepEqual(calls, [true, true])
})

test('fifty at once over several gateways: exactly as many are let in as may', async () => {
  const name = newName()
  const gateways = await Promise.all([1, 2, 3].map(async () => limiter(name, 20, await upLink(server.url))))
  const counts = await Promise.all(Array.from({ length: 50 }, (_, i) => gateways[i % 3]!.one.count('8.8.8.8')))
  assert.equal(counts.filter(ms => ms === undefined).length, 20)
})

test('while Redis is away each gateway counts alone, nobody is refused for it, and nothing is asked of it', async () => {
  const away = await startRedis()
  const link = await upLink(away.url)
  const { one, calls } = await limiter(newName(), 2, link)
  await away.stop()
  await until(() => !link.isUp, 'the link is down')
  assert.equal(await one.count('8.8.8.8'), undefined)
  assert.equal(await one.count('8.8.8.8'), undefined)
  assert.ok((await one.count('8.8.8.8'))! > 0)
  assert.deepEqual(calls, [])
})

test('a Redis that does not answer fails the call and not the request: this gateway counts it', async t => {
  const link = await upLink(server.url, { commandTimeoutMs: 50 })
  const { one, calls } = await limiter(newName(), 1, link)
  const redis = new Redis(server.url)
  t.after(() => redis.disconnect())
  await redis.call('CLIENT', 'PAUSE', '400', 'ALL')
  assert.equal(await one.count('8.8.8.8'), undefined)
  assert.ok((await one.count('8.8.8.8'))! > 0)
  assert.ok(calls.length >= 1 && calls.every(ok => !ok), String(calls))
})
