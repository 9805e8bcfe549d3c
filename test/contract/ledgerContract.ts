// What every ledger promises, whatever it is made of and however many gateways share it. Where there are two, one waits and
// the other's calls bring the turns.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BURST, type Check, HOLDERS, INFLOW, LedgerBench, type LedgerKind, TOKENS } from './ledgerBench.ts'
import { board, gates } from './ledgerBoard.ts'
import { order, turns } from './ledgerTurns.ts'

/** `kind` is there when the tests run. */
export function ledgerContract(kind: () => LedgerKind): void {
  const all = { ...turns, ...order, ...endings, ...refusals, ...pools, ...settings, ...charges, ...board, ...gates }
  for (const [promise, check] of Object.entries(all))
    test(promise, async t => {
      await check({ ...kind(), after: task => t.after(task) })
    })
}

const endings: Record<string, Check> = {
  async 'settling gives back what was not charged, exactly once'(trial) {
    const bench = await LedgerBench.open(trial)
    for (const id of ['a', 'b', 'c']) bench.acquire(id)
    await bench.decides(3)
    bench.settle('a', 5)
    await bench.holds(2)
    bench.settle('a', 0)
    bench.settle('a', 5)
    bench.settle('b', TOKENS)
    await bench.holds(1)
    const expected = BURST - 5 - TOKENS - TOKENS
    const level = await bench.level()
    assert.ok(level >= expected - 1 && level <= expected + INFLOW, `${level}`)
  },

  async 'settling above the reservation takes the rest'(trial) {
    const bench = await LedgerBench.open(trial)
    bench.acquire('a')
    await bench.decides(1)
    bench.settle('a', 300)
    await bench.holds(0)
    const level = await bench.level()
    assert.ok(level >= BURST - 301 && level <= BURST - 300 + INFLOW, `${level}`)
  },

  async 'one that leaves frees its place, and the next moves up'(trial) {
    const bench = await LedgerBench.emptied(trial, { maxWaiting: 2 })
    bench.acquire('a')
    bench.acquire('b', { at: 1 })
    await bench.waits(2)
    bench.leave('a')
    assert.deepEqual(await bench.decides(1), ['a left'])
    await bench.waits(1)
    bench.release(0, 1)
    assert.deepEqual(await bench.decides(2), ['a left', 'b'])
  },

  async 'one that leaves as its turn comes gives the quota back, whichever came first'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < 5; i++) bench.acquire(`t${i}`, { at: 0 })
    await bench.waits(5)
    bench.release(0, 5)
    for (let i = 0; i < 5; i++) bench.leave(`t${i}`)
    await bench.decides(5)
    for (const [id, { kind }] of bench.decisions) if (id.startsWith('t') && kind === 'granted') bench.settle(id, 0)
    await bench.holds(HOLDERS - 5)
    await bench.waits(0)
    assert.ok((await bench.level()) >= 5 * TOKENS)
  },

  async 'one that leaves as soon as it has asked is in no line'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < 5; i++) {
      bench.acquire(`t${i}`, { at: i })
      bench.leave(`t${i}`)
    }
    await bench.decides(5)
    for (let at = 0; at < bench.gateways; at++) assert.equal((await bench.status(at)).waiting, 0)
  },
}

const refusals: Record<string, Check> = {
  async 'a deadline that passes ends the wait with when to come back, and frees the place'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('a', { waitMs: 150 })
    assert.deepEqual(await bench.decides(1), ['a refused'])
    const { code, retryAfterMs } = bench.refusal('a')
    assert.equal(code, 'wait-timeout')
    assert.ok(retryAfterMs! >= 1_000)
    await bench.waits(0)
  },

  async 'a line that is full refuses newcomers of all gateways'(trial) {
    const bench = await LedgerBench.emptied(trial, { maxWaiting: 2 })
    bench.acquire('a', { at: 0 })
    bench.acquire('b', { at: 1 })
    await bench.waits(2)
    bench.acquire('c', { at: 0 })
    bench.acquire('d', { at: 1 })
    await bench.decides(2)
    for (const id of ['c', 'd']) {
      assert.equal(bench.refusal(id).code, 'queue-full')
      assert.ok(bench.refusal(id).retryAfterMs! >= 1_000)
    }
  },

  async "a client's line that is full refuses its newcomers and nobody else's"(trial) {
    const bench = await LedgerBench.emptied(trial, { maxWaitingPerClient: 1 })
    bench.acquire('a', { client: 'one', at: 0 })
    await bench.waits(1)
    bench.acquire('b', { client: 'one', user: 'bob', at: 1 })
    await bench.decides(1)
    assert.equal(bench.refusal('b').code, 'client-queue-full')
    bench.acquire('c', { client: 'other', at: 1 })
    await bench.waits(2)
  },

  async 'who could not have its turn before its deadline is refused at once'(trial) {
    const bench = await LedgerBench.emptied(trial)
    // Two seconds of quota each, of which a burst's worth may go at once: 54 s.
    for (let i = 0; i < 40; i++) bench.acquire(`t${i}`)
    await bench.waits(40)
    bench.acquire('late', { waitMs: 10_000 })
    await bench.decides(1)
    assert.equal(bench.refusal('late').code, 'wait-too-long')
  },

  async 'a throttled ticket keeps its deadline'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('a', { waitMs: 600 })
    await bench.waits(1)
    bench.release(0, 1)
    await bench.decides(1)
    bench.requeue('a')
    assert.deepEqual(await bench.decides(2), ['a', 'a refused'])
    assert.equal(bench.refusal('a').code, 'wait-timeout')
    await bench.holds(HOLDERS - 1)
  },

  async 'a ticket throttled for the fourth time is refused, and its reservation is over'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('a')
    await bench.waits(1)
    bench.release(0, 4)
    for (let turn = 1; turn <= 4; turn++) {
      assert.equal((await bench.decides(turn)).at(-1), 'a')
      bench.requeue('a')
    }
    assert.equal((await bench.decides(5)).at(-1), 'a refused')
    assert.equal(bench.refusal('a').code, 'wait-too-long')
    await bench.holds(HOLDERS - 4)
    bench.settle('a', 0)
    await bench.waits(0)
    // Nothing of it was given back: the upstream's bucket is as empty as it says.
    assert.ok((await bench.level()) < TOKENS)
  },
}

const charges: Record<string, Check> = {
  async 'a call that failed and was not charged gives its tokens back'(trial) {
    const bench = await LedgerBench.open(trial)
    bench.acquire('a', { tokens: 300 })
    await bench.decides(1)
    bench.requeue('a', 100)
    await bench.decides(2)
    // 100 of the first turn and 300 of the second are gone.
    const left = BURST - 400
    const level = await bench.level()
    assert.ok(level >= left - 1 && level <= left + INFLOW, `${level}`)
  },
}

const TWO_POOLS = [
  { name: 'small', tokensPerMinute: 600 },
  { name: 'large', tokensPerMinute: 1_200 },
]

const pools: Record<string, Check> = {
  async 'of several pools that fit, the one with the most water is picked'(trial) {
    const bench = await LedgerBench.open(trial, TWO_POOLS)
    for (const [i, tokens] of [40, 30, 30].entries()) {
      bench.acquire(String(i), { tokens, at: i })
      await bench.decides(i + 1)
    }
    // Each has 54 seconds of its quota; the larger loses fewer by the same request.
    assert.deepEqual(
      ['0', '1', '2'].map(id => bench.pool(id)),
      ['large', 'small', 'large'],
    )
  },

  async 'a request too large for one pool goes to the other, and one too large for all is refused at once'(trial) {
    const bench = await LedgerBench.open(trial, TWO_POOLS)
    bench.acquire('fits one', { tokens: 700 })
    bench.acquire('fits none', { tokens: 1_201 })
    await bench.decides(2)
    assert.equal(bench.pool('fits one'), 'large')
    const { code, retryAfterMs } = bench.refusal('fits none')
    assert.deepEqual([code, retryAfterMs], ['cannot-fit', undefined])
  },
}

const settings: Record<string, Check> = {
  async 'new settings keep levels, waiters and reservations'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('a')
    await bench.waits(1)
    bench.release(0, 1)
    await bench.decides(1)
    bench.acquire('b', { at: 1 })
    await bench.waits(1)
    bench.configure([{ name: 'p', tokensPerMinute: 1_200 }], { maxWaiting: 1 })
    bench.acquire('c')
    await bench.decides(2)
    assert.equal(bench.refusal('c').code, 'queue-full')
    const { waiting, inFlight, pools } = await bench.status()
    assert.deepEqual([waiting, inFlight, pools[0]!.tokens!.quotaPerMinute], [1, HOLDERS, 1_200])
    assert.ok(pools[0]!.tokens!.level < TOKENS)
  },

  async 'a quota that grows lets waiters go, at every gateway'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < 10; i++) bench.acquire(`t${i}`, { at: i })
    await bench.waits(10)
    bench.flood()
    await bench.decides(10)
  },

  async 'status tells every gateway who waits, what pools hold and who had what of late'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (const id of ['a', 'b', 'c']) bench.acquire(id, { client: 'shop', weight: 3 })
    bench.acquire('d', { client: 'shop', user: 'bob', weight: 3, priority: 'high', at: 1 })
    await bench.waits(4)
    for (let at = 0; at < bench.gateways; at++) {
      const { waiting, inFlight, classes, pools, gateways, degraded } = await bench.status(at)
      assert.deepEqual([waiting, inFlight, gateways, degraded], [4, HOLDERS, bench.gateways, undefined])
      const [high, normal] = classes
      assert.deepEqual([high!.waiting, normal!.waiting, classes[2]!.waiting], [1, 3, 0])
      assert.deepEqual(normal!.flows, [{ client: 'shop', user: 'ann', waiting: 3 }])
      const [shop, holder] = ['shop', 'holder'].map(name => normal!.clients.find(({ client }) => client === name))
      assert.deepEqual([shop!.waiting, shop!.weight, shop!.weightShare, shop!.share], [3, 3, 0.75, 0])
      assert.deepEqual([holder!.waiting, holder!.share], [0, 1])
      assert.ok(normal!.etaMs.p50 > 0 && normal!.servedPerS > 0)
      const [{ pool, isOpen, tokens, requests, savedTokens }] = pools as [(typeof pools)[number]]
      assert.deepEqual([pool, isOpen, requests, savedTokens, tokens!.burst], ['p', true, undefined, 0, BURST])
      assert.ok(tokens!.level >= 0 && tokens!.level < TOKENS)
    }
  },
}
