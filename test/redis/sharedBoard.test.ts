// The board of a gateway whose Redis goes away: what is reported counts once or not at all, and neither board steers the
// other's pools.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { startRedis } from '../support/redisServer.ts'
import { isAlone, isBack, type Opened, opened } from './sharedBench.ts'

const redis = await startRedis()
after(() => redis.stop())

async function goAway(opening: Opened): Promise<void> {
  const [link] = opening.trial.links
  link!.before = () => {
    throw new Error('away')
  }
  await opening.bench.report(0)
  await isAlone(opening, 0)
}

async function comeBack(opening: Opened): Promise<void> {
  opening.trial.links[0]!.before = () => {}
  await isBack(opening)
}

test('news whose reply was lost counts once in Redis, and is answered by the gateway’s own board', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  await bench.report(0)
  trial.links[1]!.once('report', () => {
    throw new Error('lost')
  })
  const own = await bench.report(1, { sent: 5 })
  assert.equal(own.pools![0]!.counts.sent, 5)
  await isAlone(opening, 1)
  await isBack(opening)
  assert.equal((await bench.report(0)).pools![0]!.counts.sent, 5)
  assert.equal((await bench.report(0)).pools![0]!.counts.sent, 0)
})

test('news that never arrived does not count in Redis; what a leader was told in a lost reply is told to nobody again', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  await bench.report(0)
  trial.links[1]!.before = name => {
    if (name === 'report') throw new Error('away')
  }
  await bench.report(1, { sent: 5 })
  await isAlone(opening, 1)
  trial.links[0]!.once('report', () => {
    throw new Error('lost')
  })
  await bench.report(0, { sent: 7 })
  await isAlone(opening, 0)
  await isBack(opening)
  assert.equal((await bench.report(0)).pools![0]!.counts.sent, 0)
})

test('while Redis is away its own board leads: gates hold here, the pace is the share’s, and on return Redis’s hold', async t => {
  const opening = await opened(t, redis.url)
  const { bench } = opening
  await bench.report(0)
  await bench.gate(0, 2, 'there')
  await goAway(opening)
  const report = await bench.report(0)
  assert.deepEqual([report.state, report.gates[0]!.gate, report.pools?.length], ['', OPEN_TO_ALL, 1])
  const pace = async () => (await bench.status()).pools[0]!.tokens!.quotaPerMinute
  const before = await pace()
  await bench.steer(0, { state: 'here', pools: [{ pool: 'p', believed: { tokensPerMinute: 1 }, gate: SHUT }] })
  assert.equal((await bench.status()).pools[0]!.gate, 'shut')
  assert.ok((await pace()) >= before)
  assert.equal((await bench.report(0)).state, 'here')
  await comeBack(opening)
  const back = await bench.report(0)
  assert.deepEqual([back.state, back.gates[0]!.gate], ['there', 2])
  await goAway(opening)
  const again = await bench.report(0)
  assert.deepEqual([again.state, again.gates[0]!.gate], ['', OPEN_TO_ALL], 'nothing is left of the last absence')
})

test('a step that came of a report in Redis is not taken here, nor the other way round', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  await bench.report(0)
  const [link] = trial.links
  link!.before = () => {
    throw new Error('away')
  }
  bench.acquire('x', { at: 0 })
  await isAlone(opening, 0)
  await bench.gate(0, SHUT, 'of there')
  assert.deepEqual((await bench.report(0)).state, '')
  assert.equal((await bench.status()).pools[0]!.gate, 'open')
  await comeBack(opening)
  await bench.gate(0, SHUT, 'of here')
  assert.equal((await bench.status()).pools[0]!.gate, 'open')
  assert.equal((await bench.report(0)).state, '')
})

for (const lie of [null, [0, [], []], [0, [['1', '', []]], []]])
  test(`a false reply to a report is an absence like any other: ${JSON.stringify(lie)}`, async t => {
    const opening = await opened(t, redis.url, 1)
    opening.trial.links[0]!.once('report', () => lie as never)
    assert.equal((await opening.bench.report(0)).pools?.length, 1)
    await isAlone(opening, 0)
    await isBack(opening)
  })
