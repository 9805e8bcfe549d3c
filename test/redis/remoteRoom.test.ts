// The room in Redis as one gateway sees it: grants find their way whatever becomes of hints, and gateways that fall silent.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Clock } from '../../src/domain/clock.ts'
import { systemClock } from '../../src/system.ts'
import { HOLDERS, LedgerBench } from '../contract/ledgerBench.ts'
import { startRedis } from '../support/redisServer.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { until } from '../support/wire.ts'
import { type FaultyLink, sharedTrial } from './sharedBench.ts'

const redis = await startRedis()
after(() => redis.stop())

/** Together longer than a gateway may be silent; each shorter than what Redis takes for a clock that was set. */
const STEPS = 5
const STEP_MS = 2_400

/** Redis's time goes on for the gateway, and for nobody else. */
async function silence(bench: LedgerBench, link: FaultyLink): Promise<void> {
  for (let step = 1; step <= STEPS; step++) {
    link.laterMs = step * STEP_MS
    await bench.status()
  }
}

test('a lost hint costs about a second, never the turn', async t => {
  const trial = sharedTrial(t, redis.url, 2)
  const bench = await LedgerBench.emptied(trial)
  trial.links[0]!.hearsHints = false
  for (let i = 0; i < 3; i++) bench.acquire(`t${i}`, { at: 0 })
  await bench.waits(3)
  const start = performance.now()
  bench.release(0, 3)
  await bench.decides(3)
  assert.ok(performance.now() - start < 2_000)
})

test('a hint that comes while the gateway is asking is not lost', async t => {
  const trial = sharedTrial(t, redis.url, 2)
  const bench = await LedgerBench.emptied(trial)
  bench.acquire('a', { at: 0 })
  await bench.waits(1)
  const answer = Promise.withResolvers<void>()
  trial.links[0]!.once('tick', async reply => {
    await answer.promise
    return reply
  })
  await until(() => trial.links[0]!.pending === 1, 'it asks', 3_000)
  bench.release(0, 1)
  await until(async () => (await bench.status(1)).waiting === 0, 'its turn has come')
  // The hint, on another connection, has come long since.
  await new Promise(resolve => systemClock.after(50, () => resolve(undefined)))
  const start = performance.now()
  answer.resolve()
  await bench.decides(1)
  assert.ok(performance.now() - start < 500, 'it asks again at once')
})

test('hints alone bring a turn within milliseconds: nobody waits for a timer', async t => {
  const bench = await LedgerBench.emptied(sharedTrial(t, redis.url, 2))
  bench.acquire('a', { at: 0 })
  await bench.waits(1)
  const start = performance.now()
  bench.release(0, 1)
  await bench.decides(1)
  assert.ok(performance.now() - start < 500)
})

test('those who wait at a gateway that died leave the line after ten seconds of its silence', async t => {
  const trial = sharedTrial(t, redis.url, 2)
  const bench = await LedgerBench.emptied(trial)
  for (let i = 0; i < 3; i++) bench.acquire(`dead ${i}`, { at: 1 })
  bench.acquire('living', { at: 0, user: 'bob' })
  await bench.waits(4)
  assert.equal((await bench.status()).gateways, 2)
  await trial.links[1]!.close()
  await silence(bench, trial.links[0]!)
  await until(async () => (await bench.status()).waiting === 1, 'only the living one waits', 3_000)
  assert.equal((await bench.status()).gateways, 1)
})

test('a gateway that was silent for so long, and lives, asks again for those who wait', async t => {
  const slept: Clock & { ms: number } = { ms: 0, nowMs: () => systemClock.nowMs() + slept.ms, after: systemClock.after }
  const trial = sharedTrial(t, redis.url, 2, [systemClock, slept])
  const bench = await LedgerBench.emptied(trial)
  bench.acquire('a', { at: 1 })
  await bench.waits(1)
  const wakes = Promise.withResolvers<void>()
  trial.links[1]!.before = () => wakes.promise
  await until(() => trial.links[1]!.pending > 0, 'it sleeps', 3_000)
  await silence(bench, trial.links[0]!)
  await until(async () => (await bench.status()).waiting === 0, 'it was given up', 5_000)
  trial.links[1]!.laterMs = STEPS * STEP_MS
  slept.ms = STEPS * STEP_MS
  wakes.resolve()
  await until(async () => (await bench.status()).waiting === 1, 'it waits again')
})

test('a gateway that only settles is heard of all the same', async t => {
  const clock = new VirtualClock(systemClock.nowMs())
  const trial = sharedTrial(t, redis.url, 2, [systemClock, clock])
  const bench = await LedgerBench.emptied(trial)
  const [, link] = trial.links
  const before = link!.calls.length
  for (let i = 0; i < 10; i++) {
    bench.release(i, 1)
    await bench.holds(HOLDERS - i - 1)
    await until(() => link!.pending === 0, 'all is answered')
    await clock.advance(1_000)
    await until(() => link!.pending === 0, 'all is answered')
  }
  const ticks = link!.calls.slice(before).filter(name => name === 'tick').length
  assert.ok(ticks >= 2, `${ticks} signs of life in ten seconds`)
})

test('a gateway knows within a second or so how many others there are, for when it is alone', async t => {
  const trial = sharedTrial(t, redis.url, 2)
  const bench = await LedgerBench.emptied(trial)
  const [link] = trial.links
  const measured = () => link!.calls.filter(name => name === 'status').length
  const before = measured()
  await until(() => measured() > before && link!.pending === 0, 'it looks round', 3_000)
  link!.before = () => {
    throw new Error('away')
  }
  bench.acquire('x', { at: 0 })
  await until(() => trial.ledgers[0]!.health().degraded !== undefined, 'it is alone')
  // It served nobody, and there is one other.
  const { quotaPerMinute } = (await bench.status()).pools[0]!.tokens!
  assert.equal(quotaPerMinute, 600 * 0.9 * 0.25)
})
