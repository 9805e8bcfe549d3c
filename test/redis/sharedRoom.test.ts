// A gateway whose Redis goes away, in every way there is: nobody fails because of it, nobody is served twice, and what was
// left behind is put right.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { soon } from '../../src/system.ts'
import { HOLDERS, INFLOW, LedgerBench } from '../contract/ledgerBench.ts'
import { startRedis } from '../support/redisServer.ts'
import { isAlone, isBack, opened, sharedTrial } from './sharedBench.ts'

const redis = await startRedis()
after(() => redis.stop())

test('while Redis is refused from the start everybody is served all the same, and it is shared once it comes', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  await own.kill()
  const trial = sharedTrial(t, own.url, 1)
  const bench = await LedgerBench.open(trial)
  const [ledger] = trial.ledgers
  assert.equal(ledger!.health().kind, 'redis')
  assert.match(ledger!.health().degraded!, /ECONNREFUSED/)
  assert.match((await bench.status()).degraded!, /ECONNREFUSED/)
  bench.acquire('a')
  await bench.decides(1)
  await own.start()
  await isBack({ trial })
  assert.deepEqual(
    trial.troubles[0]!.map(reason => typeof reason),
    ['string', 'undefined'],
  )
  assert.ok((await bench.level()) <= INFLOW, 'what was used meanwhile Redis does not know: it starts at nothing')
  bench.settle('a', 0)
  bench.flood()
  bench.acquire('b')
  await bench.decides(2)
  await bench.holds(1)
})

test('when Redis is killed those who wait move over in order, with their deadlines, and come back', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  const opening = await opened(t, own.url)
  const { bench } = opening
  for (let i = 0; i < 4; i++) bench.acquire(`t${i}`, { at: 0 })
  await bench.waits(4)
  const start = performance.now()
  bench.acquire('late', { at: 0, user: 'bob', waitMs: 1_000 })
  await own.kill()
  await isAlone(opening, 0, 1)
  assert.equal((await bench.status()).waiting, 5)
  assert.deepEqual(await bench.decides(1), ['late refused'])
  const waitedMs = performance.now() - start
  assert.ok(waitedMs > 990 && waitedMs < 1_900, `${waitedMs}`)
  assert.equal(bench.refusal('late').code, 'wait-timeout')
  await own.start()
  await isBack(opening)
  await bench.waits(4)
  assert.equal((await bench.status(1)).waiting, 4)
  bench.flood()
  assert.deepEqual(await bench.decides(5), ['late refused', 't0', 't1', 't2', 't3'])
})

test('when Redis falls silent those who wait are served from their gateway, and what they left in Redis is withdrawn', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  const opening = await opened(t, own.url)
  const { bench } = opening
  for (let i = 0; i < 6; i++) bench.acquire(`t${i}`, { at: i })
  await bench.waits(6)
  own.pause()
  for (let i = 6; i < 12; i++) bench.acquire(`t${i}`, { at: i })
  bench.flood()
  await bench.decides(12)
  assert.ok(
    bench.decided.every(id => /^t\d+$/.test(id)),
    bench.decided.join(),
  )
  own.resume()
  await isBack(opening)
  await bench.waits(0)
  for (let i = 0; i < 12; i++) bench.settle(`t${i}`, 0)
  bench.release(0, HOLDERS)
  await bench.holds(0)
})

test('a grant whose reply was lost is given back, and its ticket granted once only', async t => {
  const opening = await opened(t, redis.url)
  const { trial, bench } = opening
  bench.release(0, 5)
  await bench.holds(HOLDERS - 5)
  trial.links[0]!.once('acquire', () => {
    throw new Error('lost')
  })
  bench.acquire('a')
  await isAlone(opening, 0)
  await isBack(opening)
  await bench.waits(1)
  await bench.holds(HOLDERS - 5)
  bench.flood()
  await bench.decides(1)
  bench.settle('a', 0)
  await bench.holds(HOLDERS - 5)
})

for (const verb of ['requeue', 'cancel', 'settle'] as const)
  test(`a ${verb} whose reply was lost leaves nothing behind`, async t => {
    const opening = await opened(t, redis.url)
    const { trial, bench } = opening
    bench.acquire('a')
    bench.acquire('b')
    await bench.waits(2)
    bench.release(0, 1)
    assert.deepEqual(await bench.decides(1), ['a'])
    trial.links[0]!.once(verb, () => {
      throw new Error('lost')
    })
    if (verb === 'requeue') bench.requeue('a')
    if (verb === 'cancel') bench.leave('b')
    if (verb === 'settle') bench.settle('a', 0)
    await isAlone(opening, 0)
    await isBack(opening)
    bench.flood()
    await bench.decides(verb === 'requeue' ? 3 : 2)
    for (const id of ['a', 'b']) bench.settle(id, 0)
    bench.release(1, HOLDERS - 1)
    await bench.holds(0)
    await bench.waits(0)
  })

for (const lie of [
  null,
  'nonsense',
  [],
  [0, 'no list', []],
  ['soon', [], []],
  [0, [], []],
  [0, [['perhaps', 'p']], []],
])
  test(`a false reply is an absence like any other: ${JSON.stringify(lie)}`, async t => {
    const opening = await opened(t, redis.url, 1)
    const { trial, bench } = opening
    trial.links[0]!.once('acquire', () => lie as never)
    bench.acquire('a')
    await isAlone(opening, 0)
    await isBack(opening)
    await bench.waits(1)
    bench.flood()
    assert.deepEqual(await bench.decides(1), ['a'])
  })

test('a settlement made while Redis is away is told on return, once, and raises no level', async t => {
  const own = await startRedis()
  t.after(() => own.stop())
  const opening = await opened(t, own.url)
  own.pause()
  await isAlone(opening, 0, 1)
  opening.bench.release(0, HOLDERS)
  opening.bench.release(0, HOLDERS)
  own.resume()
  await isBack(opening)
  await opening.bench.holds(0)
  assert.ok((await opening.bench.level()) <= INFLOW, `${await opening.bench.level()}`)
  opening.bench.acquire('a')
  await opening.bench.waits(1)
})

test('a settlement made while the room is being opened again is told as well', async t => {
  const opening = await opened(t, redis.url, 1)
  const { trial, bench } = opening
  trial.links[0]!.once('settle', () => {
    throw new Error('lost')
  })
  bench.release(0, 1)
  await isAlone(opening, 0)
  trial.links[0]!.once('settle', async reply => {
    bench.release(1, 1)
    // Nobody can tell it in this turn.
    await new Promise(resolve => soon(() => resolve(undefined)))
    return reply
  })
  trial.links[0]!.before = name => {
    if (name === 'drain') bench.release(2, 1)
  }
  await isBack(opening)
  await bench.holds(HOLDERS - 3)
})

test('settlements that could not be told on return are told at the next', async t => {
  const opening = await opened(t, redis.url, 1)
  const { trial, bench } = opening
  let losses = 2
  trial.links[0]!.before = name => {
    if (name === 'settle' && losses-- > 0) throw new Error('lost')
  }
  bench.release(0, 3)
  await isAlone(opening, 0)
  await isBack(opening)
  await bench.holds(HOLDERS - 3)
})
