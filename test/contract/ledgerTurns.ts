// The part of the contract that is about turns: when they come, and in which order.
import assert from 'node:assert/strict'
import { BURST, type Check, HOLDERS, INFLOW, LedgerBench, TOKENS } from './ledgerBench.ts'

export const turns: Record<string, Check> = {
  async 'a pool with room grants at once'(trial) {
    const bench = await LedgerBench.open(trial)
    bench.acquire('a')
    bench.acquire('b', { at: 1 })
    await bench.decides(2)
    assert.equal(bench.pool('a'), 'p')
    assert.ok((await bench.level()) <= BURST - 2 * TOKENS + INFLOW)
  },

  async 'a wait ends when enough has flowed in, without anybody else doing anything'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.configure([{ name: 'p', tokensPerMinute: 6_000 }])
    // Ten tokens a second at that burst: two seconds.
    bench.acquire('a')
    assert.deepEqual(await bench.decides(1), ['a'])
  },

  async 'a settlement that gives back wakes who fits now, at whichever gateway it waits'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('a', { at: 0 })
    bench.acquire('b', { at: 1 })
    await bench.waits(2)
    bench.release(0, 2)
    await bench.decides(2)
    await bench.holds(HOLDERS)
  },

  async 'a ticket is granted once only, whatever call of whichever gateway brought its turn'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < HOLDERS; i++) bench.acquire(`t${i}`, { at: i, user: `u${i % 4}` })
    await bench.waits(HOLDERS)
    bench.release(0, HOLDERS)
    assert.equal(new Set(await bench.decides(HOLDERS)).size, HOLDERS)
    await bench.holds(HOLDERS)
    for (let i = 0; i < HOLDERS; i++) bench.settle(`t${i}`, 5)
    await bench.holds(0)
    const expected = BURST - HOLDERS * 5
    const level = await bench.level()
    assert.ok(level >= expected && level <= expected + INFLOW, `${level}`)
  },
}

export const order: Record<string, Check> = {
  async 'high goes before normal before low, whoever came first, but for the turn that a floor owes'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (const priority of ['low', 'normal', 'high'] as const)
      for (const i of [1, 2]) bench.acquire(`${priority} ${i}`, { priority })
    await bench.waits(6)
    // Lower classes leave a part of the burst for higher ones: so much has to come back.
    bench.release(0, HOLDERS)
    assert.deepEqual(await bench.decides(6), ['low 1', 'high 1', 'high 2', 'normal 1', 'normal 2', 'low 2'])
  },

  async "users take turns: one with a long line does not hold up another's first"(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (const id of ['a1', 'a2', 'a3', 'a4']) bench.acquire(id, { user: 'ann' })
    await bench.waits(4)
    for (const id of ['b1', 'b2']) bench.acquire(id, { user: 'bob' })
    await bench.waits(6)
    for (let i = 0; i < 6; i++) {
      bench.release(i, 1)
      await bench.decides(i + 1)
    }
    assert.deepEqual(bench.decided, ['a1', 'b1', 'a2', 'b2', 'a3', 'a4'])
  },

  async 'users at different gateways take turns as if there were one'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < 8; i++) bench.acquire(`a${i}`, { user: 'ann', at: 0 })
    await bench.waits(8)
    for (let i = 0; i < 4; i++) bench.acquire(`b${i}`, { user: 'bob', at: 1 })
    await bench.waits(12)
    for (let i = 0; i < 8; i++) {
      bench.release(i, 1)
      await bench.decides(i + 1)
    }
    assert.deepEqual(bench.decided, ['a0', 'b0', 'a1', 'b1', 'a2', 'b2', 'a3', 'b3'])
  },

  async 'clients have turns by their weights'(trial) {
    const bench = await LedgerBench.emptied(trial)
    for (let i = 0; i < 6; i++) {
      bench.acquire(`light ${i}`, { client: 'light', weight: 1, at: 1 })
      bench.acquire(`heavy ${i}`, { client: 'heavy', weight: 3, at: 0 })
    }
    await bench.waits(12)
    for (let i = 0; i < 8; i++) {
      bench.release(i, 1)
      await bench.decides(i + 1)
    }
    const heavy = bench.decided.filter(id => id.startsWith('heavy')).length
    assert.ok(heavy === 6 || heavy === 5, bench.decided.join())
  },

  async "a client's own retry regains its place in its user's line, at whichever gateway, and nobody else gets it"(
    trial,
  ) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('first', { sdkInvocationId: 'one', at: 0 })
    await bench.waits(1)
    bench.acquire('second', { sdkInvocationId: 'two', at: 0 })
    await bench.waits(2)
    bench.leave('first')
    await bench.waits(1)
    bench.acquire('third', { at: 1 })
    await bench.waits(2)
    bench.acquire("another user's", { user: 'bob', sdkInvocationId: 'one', at: 1 })
    await bench.waits(3)
    bench.acquire('first again', { sdkInvocationId: 'one', at: 1 })
    await bench.waits(4)
    for (let i = 0; i < 4; i++) {
      bench.release(i, 1)
      await bench.decides(i + 2)
    }
    assert.deepEqual(bench.decided, ['first left', 'first again', "another user's", 'second', 'third'])
  },

  async 'a throttled ticket waits again ahead of newcomers of its user'(trial) {
    const bench = await LedgerBench.emptied(trial)
    bench.acquire('first')
    bench.acquire('newcomer')
    await bench.waits(2)
    bench.release(0, 1)
    assert.deepEqual(await bench.decides(1), ['first'])
    bench.requeue('first')
    await bench.waits(2)
    bench.release(1, 1)
    assert.deepEqual(await bench.decides(2), ['first', 'first'])
    bench.release(2, 1)
    assert.deepEqual(await bench.decides(3), ['first', 'first', 'newcomer'])
  },
}
