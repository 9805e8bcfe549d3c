import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  admittedPart,
  type BreakerNews,
  type BreakerReason,
  type BreakerState,
  failuresToShut,
  startBreaker,
  stepBreaker,
} from '../../src/domain/breaker.ts'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { BREAKER } from '../support/pushback.ts'
import { seeded } from '../support/seeds.ts'

const QUIET = { accepted: 0, throttled: 0, succeeded: 0, failed: 0, unheard: 0, failedInRow: 0 }
const FAILED = { failed: 5, failedInRow: 5 }

/** A breaker with the gate it steers, in steps of 250 ms. */
class Bench {
  state: BreakerState = startBreaker(0)
  gate = OPEN_TO_ALL
  nowMs = 0
  reasons: BreakerReason[] = []
  /** Every gate told. */
  told: number[] = []
  readonly settings: typeof BREAKER

  constructor(settings: Partial<typeof BREAKER> = {}) {
    this.settings = { ...BREAKER, ...settings }
  }

  /** `roll`: what the dice show; 0 leaves a shut time whole. */
  step(news: Partial<BreakerNews> = {}, elapsedMs = 250, roll = 0): this {
    this.nowMs += elapsedMs
    const step = stepBreaker(this.state, { ...QUIET, gate: this.gate, ...news }, this.settings, this.nowMs, () => roll)
    this.state = step.state
    if (step.gate !== undefined) {
      this.gate = step.gate
      this.told.push(step.gate)
    }
    if (step.reason) this.reasons.push(step.reason)
    return this
  }

  /** All probes left go out. */
  sendProbes(): this {
    assert.ok(this.gate > 0)
    this.gate = SHUT
    return this
  }

  tripped(): this {
    return this.step(FAILED)
  }

  /** Shut, and its time over. */
  probing(): this {
    return this.tripped().step({}, 5_000)
  }

  kind(): string {
    return this.state.kind
  }
}

test('five failures in a row shut it, four do not', () => {
  const bench = new Bench().step({ failed: 4, failedInRow: 4 })
  assert.equal(bench.kind(), 'closed')
  bench.step({ failed: 1, failedInRow: 5 })
  assert.deepEqual([bench.kind(), bench.gate, bench.reasons], ['shut', SHUT, ['failures-in-row']])
})

test('a gate that the room has shut is a trip, and is not told again', () => {
  const bench = new Bench()
  bench.gate = SHUT
  bench.step({ failed: 1 })
  assert.deepEqual([bench.kind(), bench.told, bench.reasons], ['shut', [], ['failures-in-row']])
})

test('half of twenty calls within 30 s shut it; of nineteen not, nor over a longer time', () => {
  const half = { failed: 1, succeeded: 1, accepted: 2, failedInRow: 0 }
  const bench = new Bench()
  for (let i = 0; i < 9; i++) bench.step(half)
  assert.equal(bench.step({ failed: 1, accepted: 1 }).kind(), 'closed')
  assert.equal(bench.step(half).kind(), 'shut')
  assert.deepEqual(bench.reasons, ['failure-share'])
  const slow = new Bench()
  for (let i = 0; i < 100; i++) assert.equal(slow.step(half, 4_000).kind(), 'closed')
})

test('successes alone never shut it, and throttles beside acceptances neither', () => {
  const bench = new Bench()
  for (let i = 0; i < 200; i++) bench.step({ succeeded: 2, accepted: 2, throttled: 20 })
  assert.deepEqual([bench.kind(), bench.told], ['closed', []])
})

test('throttles with nothing accepted shut it, five in a row over ten seconds', () => {
  const quick = new Bench()
  for (let i = 0; i < 39; i++) quick.step({ throttled: 3 })
  assert.equal(quick.kind(), 'closed')
  const bench = new Bench()
  for (const throttled of [3, 1, 1]) bench.step({ throttled }, 4_000)
  assert.equal(bench.kind(), 'closed')
  assert.equal(bench.step({}, 5_000).kind(), 'closed')
  assert.equal(bench.step({ throttled: 1 }).kind(), 'shut')
  assert.deepEqual(bench.reasons, ['only-throttles'])
})

test('one acceptance among them ends the row', () => {
  const bench = new Bench()
  for (let i = 0; i < 4; i++) bench.step({ throttled: 1 }, 5_000)
  bench.step({ throttled: 1, accepted: 1 })
  for (let i = 0; i < 4; i++) bench.step({ throttled: 1 }, 2_000)
  assert.equal(bench.kind(), 'closed')
})

test('it admits exactly 1, 3 and 10 probes, and then everybody', () => {
  const bench = new Bench().probing()
  for (const probes of [1, 3, 10]) {
    assert.deepEqual([bench.kind(), bench.gate], ['half-open', probes])
    bench.sendProbes()
    for (let i = 1; i < probes; i++) assert.equal(bench.step({ succeeded: 1 }).gate, SHUT)
    bench.step({ succeeded: 1 })
  }
  assert.deepEqual([bench.kind(), bench.told], ['ramping', [SHUT, 1, 3, 10, OPEN_TO_ALL]])
  assert.deepEqual(bench.reasons, ['failures-in-row', 'shut-time-over', 'probes-succeeded'])
})

test('a probe that fails shuts it for twice as long, up to the longest; a whole recovery begins anew', () => {
  const bench = new Bench().tripped()
  for (const shutMs of [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
    assert.equal(bench.step({}, shutMs - 1).kind(), 'shut')
    bench.step({}, 1).sendProbes()
    assert.equal(bench.kind(), 'half-open')
    bench.step({ failed: 1, failedInRow: 6, gate: SHUT }, 0)
    assert.equal(bench.kind(), 'shut')
    assert.ok(bench.state.kind === 'shut' && bench.state.opensAtMs - bench.nowMs <= 60_000)
  }
  assert.equal(bench.reasons.at(-1), 'probe-failed')
  bench.step({}, 60_000)
  for (const probes of [1, 3, 10]) bench.sendProbes().step({ succeeded: probes })
  bench.step({}, 30_000)
  assert.equal(bench.kind(), 'closed')
  bench.tripped()
  assert.equal(bench.step({}, 5_000).kind(), 'half-open')
})

test('where calls fail now and then anyway, only a row that chance would hardly bring about shuts it', () => {
  const rowAt = (failed: number, of: number) => {
    const bench = new Bench().step({ succeeded: of - failed, failed, failedInRow: 0 })
    return failuresToShut(bench.state, 0, BREAKER)
  }
  assert.deepEqual([rowAt(0, 1000), rowAt(50, 1000), rowAt(3, 10)], [5, 5, 5])
  assert.deepEqual([rowAt(200, 1000), rowAt(300, 1000), rowAt(480, 1000)], [8, 10, 16])
  const bench = new Bench().step({ succeeded: 70, failed: 30, failedInRow: 1 })
  assert.equal(bench.step({ failed: 8, failedInRow: 9 }).kind(), 'closed')
  assert.equal(bench.step({ failed: 1, failedInRow: 10 }).kind(), 'shut')
  const good = new Bench().step({ succeeded: 1000 }).step({ failed: 4, failedInRow: 4 })
  assert.equal(good.step({ failed: 1, failedInRow: 5 }).kind(), 'shut', 'the row itself is no rate of before')
})

test('some probes of a phase may fail where calls fail now and then: at most half', () => {
  const bench = new Bench().probing().sendProbes().step({ succeeded: 1 })
  bench.sendProbes().step({ succeeded: 2, failed: 1 })
  assert.deepEqual([bench.kind(), bench.gate], ['half-open', 10])
  bench.sendProbes().step({ succeeded: 3, failed: 5 })
  assert.equal(bench.kind(), 'half-open')
  const bad = new Bench()
  bad.state = bench.state
  bad.gate = SHUT
  assert.equal(bad.step({ failed: 1 }).kind(), 'shut')
  assert.equal(bench.step({ succeeded: 2 }).kind(), 'ramping')
})

test('after throttles alone it is shut for 15 s at most', () => {
  const bench = new Bench()
  for (let i = 0; i < 5; i++) bench.step({ throttled: 1 }, 5_000)
  for (const shutMs of [5_000, 10_000, 15_000, 15_000]) {
    assert.equal(bench.step({}, shutMs - 1).kind(), 'shut')
    bench.step({}, 1).sendProbes().step({ throttled: 1 }, 0)
  }
})

test('chance takes off up to a quarter of a shut time and never adds to it', () => {
  const shutFor = (roll: number) => {
    const bench = new Bench().step(FAILED, 250, roll)
    return bench.state.kind === 'shut' ? bench.state.opensAtMs - bench.nowMs : Number.NaN
  }
  assert.deepEqual([shutFor(0), shutFor(0.5), shutFor(1)], [5_000, 4_375, 3_750])
})

test('calls from before that end well while it is shut do not open it', () => {
  const bench = new Bench().tripped()
  for (let i = 0; i < 10; i++) assert.equal(bench.step({ succeeded: 5, accepted: 5 }).kind(), 'shut')
})

test('it ramps from a quarter to the whole in 30 s; a trip meanwhile counts as one more', () => {
  const bench = new Bench().probing()
  for (const probes of [1, 3, 10]) bench.sendProbes().step({ succeeded: probes })
  const part = () => admittedPart(bench.state, BREAKER, bench.nowMs)
  assert.equal(part(), 0.25)
  bench.step({}, 15_000)
  assert.equal(part(), 0.625)
  const again = new Bench()
  again.state = bench.state
  again.nowMs = bench.nowMs
  again.tripped()
  assert.equal(again.state.kind === 'shut' && again.state.opensAtMs - again.nowMs, 10_000)
  bench.step({}, 15_000)
  assert.deepEqual([bench.kind(), part(), bench.reasons.at(-1)], ['closed', 1, 'ramped'])
})

test('after throttles alone there is no ramp, an acceptance is proof enough, and a throttle is not', () => {
  const bench = new Bench()
  for (let i = 0; i < 5; i++) bench.step({ throttled: 1 }, 5_000)
  bench.step({}, 5_000).sendProbes()
  assert.equal(bench.step({ throttled: 1 }).kind(), 'shut')
  bench.step({}, 10_000)
  for (const probes of [1, 3, 10]) bench.sendProbes().step({ accepted: probes })
  assert.deepEqual([bench.kind(), bench.gate], ['closed', OPEN_TO_ALL])
})

test('after failures a throttle is an answer: the pool is up', () => {
  const bench = new Bench().probing().sendProbes().step({ throttled: 1 })
  assert.deepEqual([bench.kind(), bench.gate], ['half-open', 3])
})

test('a probe that never ends is followed by one more a minute later; one that nobody asked for is not late', () => {
  const bench = new Bench().probing()
  assert.equal(bench.step({}, 600_000).gate, 1)
  bench.sendProbes()
  assert.equal(bench.step({}, 59_999).gate, SHUT)
  assert.equal(bench.step({}, 1).gate, 1)
  bench.sendProbes()
  assert.equal(bench.step({ succeeded: 1 }).gate, 3)
  assert.equal(bench.step({}, 600_000).gate, 3)
})

test('a probe that told nothing is followed by another at once', () => {
  const bench = new Bench().probing().sendProbes().step({ unheard: 1 })
  assert.deepEqual([bench.kind(), bench.gate], ['half-open', 1])
  bench.sendProbes().step({ succeeded: 1 })
  bench.gate = 1
  assert.equal(bench.step({ unheard: 2 }).gate, 3, 'one is still to go, two are lost')
  bench.sendProbes()
  assert.equal(bench.step({ succeeded: 2, unheard: 9 }).gate, 1, 'never more than the phase has')
})

test('a gate that a new room has forgotten is told again', () => {
  const shut = new Bench().tripped()
  shut.gate = OPEN_TO_ALL
  assert.equal(shut.step().gate, SHUT)
  const halfOpen = new Bench().probing()
  halfOpen.gate = OPEN_TO_ALL
  assert.equal(halfOpen.step().gate, 1)
  assert.ok(halfOpen.state.kind === 'half-open')
  halfOpen.state = { ...halfOpen.state, good: -7 }
  halfOpen.gate = OPEN_TO_ALL
  assert.equal(halfOpen.step().gate, 1)
  const closed = new Bench()
  closed.gate = 3
  assert.equal(closed.step().gate, OPEN_TO_ALL)
})

test('a clock that steps back stretches neither a shut time nor a ramp', () => {
  const bench = new Bench().step(FAILED, 1e9)
  bench.step({}, -9e8)
  assert.equal(bench.step({}, 60_000).kind(), 'half-open')
})

test('whatever happens: probes out never pass 1, 3, 10 and one a minute, shut times stay bounded, gate and state agree', t => {
  const few = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(3))
  const news = fc.record({ accepted: few, throttled: few, succeeded: few, failed: few, sends: fc.nat(12) })
  const timed = fc.record({ news, elapsedMs: fc.oneof(fc.constant(250), fc.nat(70_000)) })
  fc.assert(
    fc.property(fc.array(timed, { maxLength: 150 }), fc.nat(), (steps, seed) => {
      const bench = new Bench()
      const dice = seededDice(seed)
      let failedInRow = 0
      for (const { news: one, elapsedMs } of steps) {
        const { sends, ...counts } = one
        failedInRow = counts.succeeded > 0 ? 0 : failedInRow + counts.failed
        bench.gate = bench.gate > 0 ? Math.max(0, bench.gate - sends) : bench.gate
        bench.step({ ...counts, failedInRow }, elapsedMs, dice())
        const { state, gate } = bench
        if (state.kind === 'shut') {
          assert.equal(gate, SHUT)
          assert.ok(state.opensAtMs - state.sinceMs <= 60_000 && state.opensAtMs - state.sinceMs >= 3_750)
        } else if (state.kind === 'half-open') assert.ok(gate >= 0 && gate <= [1, 3, 10][state.phase]!)
        else {
          assert.equal(gate, OPEN_TO_ALL)
          assert.ok(state.recent.slots.length <= 10)
        }
        const part = admittedPart(state, BREAKER, bench.nowMs)
        assert.ok(part >= 0.25 && part <= 1)
      }
    }),
    seeded(t, 300),
  )
})
