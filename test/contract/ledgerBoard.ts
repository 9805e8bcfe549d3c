// The part of the contract that is about the board: what gateways report of pools, who decides, and what is shut for it.
import assert from 'node:assert/strict'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { LEASE_MS, MOST_STATE, type PoolReport, type Report } from '../../src/domain/poolReport.ts'
import { until } from '../support/wire.ts'
import { BURST, type Check, INFLOW, LedgerBench } from './ledgerBench.ts'

const FAILURES = 5
const opened = (trial: Parameters<Check>[0]) => LedgerBench.open(trial, undefined, { failures: FAILURES })

/** What a leader is told of its only pool. */
function told(report: Report): PoolReport {
  assert.equal(report.pools?.length, 1, 'it leads')
  return report.pools[0]!
}

export const board: Record<string, Check> = {
  async 'one gateway at a time leads, and another once that one has not reported for as long as the lease'(trial) {
    const bench = await opened(trial)
    assert.ok((await bench.report(0)).pools)
    for (let at = 1; at < bench.gateways; at++) assert.equal((await bench.report(at)).pools, undefined)
    const start = performance.now()
    assert.ok((await bench.report(0)).pools, 'it goes on leading')
    if (bench.gateways === 1) return
    await until(async () => (await bench.report(1)).pools !== undefined, 'another leads', 5_000)
    assert.ok(performance.now() - start >= LEASE_MS - 1, `${performance.now() - start}`)
    assert.equal((await bench.report(0)).pools, undefined)
  },

  async 'what all gateways told since the last step is told to the leader, once'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    for (let at = 1; at < bench.gateways; at++) {
      await bench.report(at, { sent: 3, accepted: 2, throttledRequests: 1, unheard: 3, tokens: 7.25 })
      await bench.report(at, { sent: 1, throttledTokens: 1, throttledUnclear: 2 })
    }
    const others = bench.gateways - 1
    const { counts } = told(await bench.report(0, { sent: 10, accepted: 10, succeeded: 4, tokens: -0.5 }))
    assert.deepEqual(counts, {
      sent: 10 + 4 * others,
      accepted: 10 + 2 * others,
      throttledRequests: others,
      throttledTokens: others,
      throttledUnclear: 2 * others,
      succeeded: 4,
      failed: 0,
      unheard: 3 * others,
      tokens: 7.25 * others - 0.5,
    })
    const again = told(await bench.report(0))
    assert.ok(Object.values(again.counts).every(count => count === 0))
  },

  async 'a step of one that does not lead changes nothing; of the leader, state and gates are what every gateway is told'(
    trial,
  ) {
    const bench = await opened(trial)
    await bench.gate(1, SHUT, 'nobody has reported yet')
    const { state, gates } = await bench.report(0)
    assert.deepEqual([state, gates], ['', [{ pool: 'p', gate: OPEN_TO_ALL }]])
    if (bench.gateways > 1) await bench.gate(1, SHUT, 'not the leader')
    assert.equal((await bench.status()).pools[0]!.gate, 'open')
    await bench.gate(0, 2, 'é "1"')
    for (let at = 0; at < bench.gateways; at++) {
      const report = await bench.report(at)
      assert.deepEqual([report.state, report.gates], ['é "1"', [{ pool: 'p', gate: 2 }]])
    }
    assert.equal((await bench.status()).pools[0]!.gate, 'probing')
  },

  async 'a pace that is steered holds for all'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    await bench.steer(0, {
      state: '',
      pools: [{ pool: 'p', believed: { tokensPerMinute: 300, requestsPerMinute: 3 } }],
    })
    for (let at = 0; at < bench.gateways; at++) {
      const { requests, tokens } = (await bench.status(at)).pools[0]!
      assert.deepEqual([requests, tokens!.quotaPerMinute], [undefined, 300])
    }
    await bench.steer(0, { state: '', pools: [{ pool: 'nowhere', believed: { tokensPerMinute: 1 }, gate: SHUT }] })
    assert.equal((await bench.status()).pools[0]!.gate, 'open')
  },

  async 'a state too long to be kept is refused'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    await assert.rejects(bench.gate(0, SHUT, 'x'.repeat(MOST_STATE + 1)), new RegExp(`${MOST_STATE + 1} characters`))
    await bench.gate(0, 3, 'x'.repeat(MOST_STATE))
    assert.equal((await bench.report(0)).state.length, MOST_STATE)
  },

  async 'the leader is told which bucket held a head back since the last step, and how full each is'(trial) {
    const bench = await opened(trial)
    const first = told(await bench.report(0))
    assert.deepEqual(first.limited, { requests: false, tokens: false })
    assert.ok(first.fill.tokens > 0.99 && first.fill.requests === 1)
    bench.acquire('all', { tokens: BURST })
    await bench.decides(1)
    bench.acquire('more', { tokens: BURST, at: 1 })
    await bench.waits(1)
    const then = told(await bench.report(0))
    assert.deepEqual(then.limited, { requests: false, tokens: true })
    assert.ok(then.fill.tokens <= INFLOW / BURST, `${then.fill.tokens}`)
    bench.leave('more')
    await bench.waits(0)
    assert.deepEqual(told(await bench.report(0)).limited, { requests: false, tokens: false })
  },
}

export const gates: Record<string, Check> = {
  async 'so many failures in a row of all gateways shut a pool at once, whoever leads'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    for (let failure = 1; failure < FAILURES; failure++) await bench.report(failure, { failed: 1 })
    await bench.report(1, { succeeded: 1, failed: 1 }, 1)
    for (let failure = 2; failure < FAILURES; failure++) await bench.report(failure, { failed: 1 })
    assert.equal((await bench.status()).pools[0]!.gate, 'open', 'a success between them starts anew')
    const { gates } = await bench.report(1, { failed: 1 })
    assert.deepEqual(gates, [{ pool: 'p', gate: SHUT }])
    assert.equal(told(await bench.report(0)).failedInRow, FAILURES)
    bench.acquire('a', { at: 1 })
    await bench.waits(1)
  },

  async 'the success of a call that was sent before the failures began ends no row'(trial) {
    const bench = await opened(trial)
    for (let failure = 1; failure < FAILURES; failure++) await bench.report(0, { failed: 1 })
    await bench.report(1, { succeeded: 3 }, 0, 60_000)
    assert.deepEqual((await bench.report(0, { failed: 1 })).gates, [{ pool: 'p', gate: SHUT }])
  },

  async 'a pool that is tried passes exactly as many as may try it, of all gateways together'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    await bench.gate(0, SHUT)
    for (let i = 0; i < 6; i++) bench.acquire(`waits ${i}`, { at: i })
    await bench.waits(6)
    await bench.gate(0, 3)
    await bench.decides(3)
    for (let i = 0; i < 6; i++) bench.acquire(`comes ${i}`, { at: i, priority: 'high' })
    await bench.waits(9)
    await bench.decides(3)
    assert.equal((await bench.status()).pools[0]!.gate, 'shut')
    await bench.gate(0, OPEN_TO_ALL)
    await bench.decides(12)
  },

  async 'how many failures in a row shut a pool can be told with a step'(trial) {
    const bench = await opened(trial)
    await bench.report(0)
    await bench.steer(0, { state: '', pools: [{ pool: 'p', believed: {}, failures: FAILURES + 2 }] })
    for (let failure = 1; failure < FAILURES + 2; failure++) await bench.report(failure, { failed: 1 })
    assert.equal((await bench.status()).pools[0]!.gate, 'open')
    assert.deepEqual((await bench.report(0, { failed: 1 })).gates, [{ pool: 'p', gate: SHUT }])
  },

  async 'who would not wait for a pool to open is refused while none is, and leaves the line when the last one shuts'(
    trial,
  ) {
    const bench = await LedgerBench.emptied(trial, { failures: FAILURES })
    await bench.report(0)
    bench.acquire('waiting', { refuseWhenShut: true, at: 1 })
    bench.acquire('patient', { at: 1 })
    await bench.waits(2)
    await bench.gate(0, SHUT)
    for (let at = 0; at < bench.gateways; at++) await bench.report(at)
    await bench.decides(1)
    bench.acquire('new', { refuseWhenShut: true, at: 1 })
    await bench.decides(2)
    for (const id of ['waiting', 'new']) {
      const { code, retryAfterMs } = bench.refusal(id)
      assert.deepEqual([code, retryAfterMs], ['no-pool-open', 5_000])
    }
    await bench.waits(1)
    await bench.gate(0, OPEN_TO_ALL)
    for (let at = 0; at < bench.gateways; at++) await bench.report(at)
    bench.acquire('later', { refuseWhenShut: true, at: 1 })
    await bench.waits(2)
  },

  async 'who would not wait for a pool to open and is thrown back by the last that shut is refused, and holds nothing'(
    trial,
  ) {
    const bench = await opened(trial)
    await bench.report(0)
    bench.acquire('a', { refuseWhenShut: true, at: 1 })
    await bench.decides(1)
    await bench.gate(0, SHUT)
    for (let at = 0; at < bench.gateways; at++) await bench.report(at)
    bench.requeue('a', 0)
    await bench.decides(2)
    assert.equal(bench.refusal('a').code, 'no-pool-open')
    await bench.holds(0)
    await bench.waits(0)
    assert.ok((await bench.level()) >= BURST - 1)
  },
}
