// What a gateway finds when Redis is back, or has lost its memory, and what it leaves when it goes itself.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Redis } from 'ioredis'
import { BURST, HOLDERS, INFLOW, TOKENS } from '../contract/ledgerBench.ts'
import { startRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'
import { AWAY_MS, isAlone, isBack, opened } from './sharedBench.ts'

const redis = await startRedis()
after(() => redis.stop())

async function admin(...command: [string, ...string[]]): Promise<void> {
  const client = new Redis(redis.url)
  await client.call(...command)
  client.disconnect()
}

test('a Redis restarted empty starts at nothing, and those who wait do so again', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  const opening = await opened(t, own.url)
  const { bench } = opening
  bench.acquire('a', { at: 0 })
  bench.acquire('b', { at: 1 })
  await bench.waits(2)
  bench.release(0, 10)
  await bench.decides(2)
  bench.acquire('c', { at: 0, tokens: 600 })
  bench.acquire('d', { at: 1, tokens: 600 })
  await bench.waits(2)
  await own.restart()
  await isAlone(opening, 0, 1)
  await isBack(opening)
  await bench.waits(2)
  assert.ok((await bench.level()) <= INFLOW)
  bench.settle('a', 0)
  bench.flood()
  await bench.decides(4)
})

test('FLUSHALL: when one gateway has noticed it, those who wait at the others are not forgotten', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  bench.acquire('a', { at: 0 })
  bench.acquire('b', { at: 1 })
  await bench.waits(2)
  const measured = () => trial.links[1]!.calls.includes('status')
  await until(measured, 'the other has looked round', 3_000)
  const noticed = Promise.withResolvers<void>()
  trial.links[1]!.before = () => noticed.promise
  await until(() => trial.links[1]!.pending > 0, 'the other notices nothing', 3_000)
  await admin('FLUSHALL')
  await isAlone(opening, 0)
  await until(() => trial.ledgers[0]!.health().degraded === undefined, 'the one is back', AWAY_MS)
  await bench.waits(1)
  noticed.resolve()
  await until(async () => (await bench.status()).waiting === 2, 'both wait again', 8_000)
  assert.deepEqual(trial.troubles[1], [undefined])
  assert.ok((await bench.level()) < TOKENS)
  bench.flood()
  await bench.decides(2)
})

test('SCRIPT FLUSH is not noticed', async t => {
  const { trial, bench } = await opened(t, redis.url)
  await admin('SCRIPT', 'FLUSH')
  bench.acquire('a')
  await bench.waits(1)
  await admin('SCRIPT', 'FLUSH')
  bench.release(0, 1)
  await bench.decides(1)
  assert.deepEqual(trial.troubles, [[undefined], [undefined]])
})

test('a ticket granted while Redis was away and then throttled waits in the line of all', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  trial.links[0]!.before = () => {
    throw new Error('away')
  }
  bench.acquire('a')
  await isAlone(opening, 0)
  // Its own settings, for Redis does not hear of them.
  bench.flood()
  await bench.decides(1)
  bench.configure([{ name: 'p', tokensPerMinute: 600 }])
  trial.links[0]!.before = () => {}
  await isBack(opening)
  bench.requeue('a')
  await until(async () => (await bench.status(1)).waiting === 1, 'the other gateway sees it wait')
})

test('settings that came while the room was being opened again hold in Redis', async t => {
  const opening = await opened(t, redis.url, 1)
  const { trial, bench } = opening
  trial.links[0]!.once('acquire', () => {
    throw new Error('lost')
  })
  trial.links[0]!.before = name => {
    if (name !== 'drain') return
    trial.links[0]!.before = () => {}
    bench.configure([{ name: 'p', tokensPerMinute: 1_200 }])
  }
  bench.acquire('a')
  await isAlone(opening, 0)
  await isBack(opening)
  const quota = async () => (await bench.status()).pools[0]!.tokens!.quotaPerMinute
  await until(async () => (await quota()) === 1_200, 'the new quota holds')
})

test('a room that closes as soon as it is opened is opened less and less often', async t => {
  const opening = await opened(t, redis.url, 1)
  const { trial, bench } = opening
  const [link] = trial.links
  link!.reply = (name, reply) => {
    if (name === 'acquire') throw new Error('lost')
    return reply
  }
  bench.acquire('a', { waitMs: 3_000 })
  await bench.decides(1)
  const opened_ = link!.calls.filter(name => name === 'drain').length
  assert.ok(opened_ >= 2 && opened_ <= 4, `${opened_} times in 3 s`)
})

test('a gateway that closes tells its last settlements, and leaves nobody in line', async t => {
  const { trial, bench } = await opened(t, redis.url)
  bench.acquire('in line', { at: 1 })
  await bench.waits(1)
  bench.release(0, HOLDERS)
  bench.acquire('newcomer', { at: 1 })
  await trial.ledgers[1]!.close()
  const { waiting, inFlight } = await bench.status(0)
  assert.deepEqual([waiting, inFlight], [0, 0])
  assert.ok((await bench.level()) >= BURST - 1)
})
