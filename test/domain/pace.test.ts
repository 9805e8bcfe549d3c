import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Feedback } from '../../src/domain/episode.ts'
import { type PaceState, pacedPerMinute, startPace, stepPace } from '../../src/domain/pace.ts'
import { seeded } from '../support/seeds.ts'

const QUOTA = 600
const calm = { accepted: 3, amount: 3, throttled: 0, limited: true, elapsedMs: 250 }

/** Runs steps of 250 ms from `fromMs`. */
function run(law: PaceState, steps: Partial<Feedback>[], fromMs = 1_000): PaceState {
  return steps.reduce<PaceState>(
    (state, step, i) =>
      stepPace(state, { ...calm, amount: step.accepted ?? calm.accepted, ...step, nowMs: fromMs + i * 250 }),
    law,
  )
}

const times = (count: number, step: Partial<Feedback>) => new Array<Partial<Feedback>>(count).fill(step)

test('it begins with the configured quota', () => {
  assert.equal(pacedPerMinute(startPace(QUOTA)), QUOTA)
})

test('one congestion is one cut, however many throttles and acceptances report it within a second', () => {
  const law = run(startPace(QUOTA), times(4, { throttled: 5 }))
  assert.equal(law.ratePerMinute, 0.85 * QUOTA)
  assert.equal(law.cuts, 1)
})

test('throttles that go on with nothing accepted belong to the same congestion', () => {
  const law = run(startPace(QUOTA), times(100, { throttled: 1, accepted: 0 }))
  assert.equal(law.cuts, 1)
  assert.equal(law.ratePerMinute, 0.85 * QUOTA)
})

test('after an acceptance a throttle is a new congestion', () => {
  const law = run(startPace(QUOTA), [{ throttled: 1 }, ...times(4, {}), { throttled: 1 }])
  assert.equal(law.cuts, 2)
})

test('throttles in a row slow it down at once, and the first acceptance brings the learned rate back whole', () => {
  const backingOff = run(startPace(QUOTA), times(6, { throttled: 1, accepted: 0 }))
  assert.ok(Math.abs(pacedPerMinute(backingOff) - 0.85 * QUOTA * 0.6 ** 5) < 1e-9)
  const silent = run(startPace(QUOTA), times(60, { throttled: 4, accepted: 0 }))
  assert.equal(pacedPerMinute(silent), 0.01 * silent.ratePerMinute)
  const back = stepPace(silent, { ...calm, accepted: 1, limited: false, nowMs: 60_000 })
  assert.equal(pacedPerMinute(back), 0.85 * QUOTA)
})

/** `accepted` a second for 20 s, then throttles for `stallMs`, then one more acceptance. */
function stalled(accepted: number, stallMs: number): PaceState {
  const busy = times(80, { accepted: accepted / 4 })
  const refused = times(stallMs / 250, { throttled: 1, accepted: 0 })
  return run({ ...startPace(QUOTA), quietS: 0 }, [...busy, ...refused, { accepted: 1, limited: false }], 60_000)
}

test('after a stall the minute before it is the quota: one cut finds a window that allows half', () => {
  const law = stalled(14, 40_000)
  assert.ok(Math.abs(law.ratePerMinute - 280) < 1, `${law.ratePerMinute}`)
  assert.equal(law.cuts, 2)
})

test('a stall leaves half of the rate, however little was accepted before it', () => {
  assert.ok(Math.abs(stalled(1, 40_000).ratePerMinute - (0.85 * QUOTA) / 2) < 2)
})

test('a stall says nothing of a rate that the minute before it has borne', () => {
  const law = stalled(40, 40_000)
  assert.equal(law.cuts, 1)
  assert.ok(law.ratePerMinute > 0.84 * QUOTA)
})

test('a stall measures nothing while our bucket was not the limit: the minute before it shows what was asked for', () => {
  const busy = times(80, { accepted: 3, limited: false })
  const refused = times(160, { throttled: 1, accepted: 0, limited: false })
  const law = run(startPace(QUOTA), [...busy, ...refused, { limited: false }], 60_000)
  assert.equal(law.cuts, 1)
})

test('throttles of eight seconds may be those of a small bucket, and measure nothing', () => {
  assert.equal(stalled(14, 8_000).cuts, 1)
  assert.equal(stalled(14, 10_000).cuts, 2)
})

test('what was accepted more than a minute before a stall is no measure of it', () => {
  const early = run(startPace(QUOTA), times(20, { accepted: 100 }), 60_000)
  const steps = [...times(80, { accepted: 5 }), ...times(160, { throttled: 1, accepted: 0 }), {}]
  const law = run(early, steps, 140_000)
  assert.ok(Math.abs(law.ratePerMinute - 400) < 6, `${law.ratePerMinute}`)
})

test('it grows by three per cent in the first minute, and twice as fast after 90 seconds of quiet', () => {
  // Of a whole minute, with growth that doubles every 90 s: 0.03 · 1.5/ln 2 · (2^(60/90) − 1) = 0.0381, compounded.
  const minute = run(startPace(QUOTA), times(240, {}))
  assert.ok(Math.abs(minute.ratePerMinute / QUOTA - Math.exp(0.03814)) < 2e-4, `${minute.ratePerMinute}`)
  const later = { ...startPace(QUOTA), quietS: 90 }
  const first = stepPace(startPace(QUOTA), { ...calm, nowMs: 1_000 })
  assert.ok(
    Math.abs((stepPace(later, { ...calm, nowMs: 1_000 }).ratePerMinute - QUOTA) / (first.ratePerMinute - QUOTA) - 2) <
      1e-9,
  )
})

test('a bucket that held nobody back is no reason to grow, and what quiet had gained is lost by and by', () => {
  const law = run({ ...startPace(QUOTA), quietS: 10 }, times(8, { limited: false }))
  assert.equal(law.ratePerMinute, QUOTA)
  assert.equal(law.quietS, 8)
})

test('a cut ends the quiet: growth begins slowly again', () => {
  const law = run({ ...startPace(QUOTA), quietS: 300 }, [{ throttled: 1 }, ...times(4, {})])
  assert.equal(law.quietS, 0.25)
})

test('a pool of few requests grows by its requests, not by the clock', () => {
  const slow = run(
    startPace(60),
    times(60, { accepted: 0 }).map((step, i) => (i % 20 === 0 ? { accepted: 1 } : step)),
  )
  // Three acceptances pay for a second and a half of growth.
  assert.equal(slow.quietS, 1.5)
})

test('a step that comes late grows by a second at most', () => {
  const law = stepPace(startPace(QUOTA), { ...calm, accepted: 10_000, elapsedMs: 3_600_000, nowMs: 3_600_000 })
  assert.ok(law.ratePerMinute <= QUOTA * (1 + 0.03 / 60) + 1e-9)
})

test('a clock that steps back does not leave it deaf', () => {
  const cut = stepPace(startPace(QUOTA), { ...calm, throttled: 1, nowMs: 1e9 })
  const law = run(cut, [...times(5, {}), { throttled: 1 }], 5_000)
  assert.equal(law.cuts, 2)
})

const feedback = fc.record({
  accepted: fc.oneof(fc.constant(0), fc.nat(50)),
  throttled: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(20)),
  amount: fc.integer({ min: -1_000, max: 100_000 }),
  limited: fc.boolean(),
  elapsedMs: fc.oneof(fc.constant(250), fc.nat(20_000), fc.nat(600_000)),
})

test('whatever happens: bounded, no cut while deaf, one cut an episode and one more where it was a stall, growth only when limited and never with a throttle', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e7 }), fc.array(feedback, { maxLength: 200 }), (quota, steps) => {
      let law = startPace(quota)
      let nowMs = 1_000
      let cutAtMs = Number.NEGATIVE_INFINITY
      let acceptedSince = true
      for (const step of steps) {
        nowMs += step.elapsedMs
        const after = stepPace(law, { ...step, nowMs })
        if (nowMs >= cutAtMs + 1_000) acceptedSince ||= step.accepted > 0
        if (after.cuts > law.cuts) {
          const endsStall = law.isStalled && step.accepted > 0
          assert.ok(nowMs >= cutAtMs + (endsStall ? 9_000 : 1_000))
          assert.ok(endsStall || (step.throttled > 0 && acceptedSince))
          assert.ok(after.ratePerMinute >= Math.max(0.01 * quota, law.ratePerMinute * (endsStall ? 0.5 : 0.85)) - 1e-9)
          cutAtMs = nowMs
          acceptedSince = false
        }
        if (after.ratePerMinute > law.ratePerMinute)
          assert.ok(step.limited && step.throttled === 0 && step.accepted + law.credit > 0)
        assert.ok(after.ratePerMinute >= 0.01 * quota && after.ratePerMinute <= 100 * quota)
        assert.ok(pacedPerMinute(after) > 0 && pacedPerMinute(after) <= after.ratePerMinute)
        assert.ok(after.quietS >= 0 && after.credit >= 0 && after.credit <= 1)
        assert.deepEqual(JSON.parse(JSON.stringify(after)), after)
        law = after
      }
    }),
    seeded(t, 500),
  )
})

test('days of quiet at the greatest rate stay finite', () => {
  let law = startPace(QUOTA)
  for (let i = 0; i < 200_000; i++) law = stepPace(law, { ...calm, elapsedMs: 1_000, nowMs: i * 1_000 })
  law = stepPace(law, { ...calm, elapsedMs: 0, nowMs: 2e8 })
  assert.equal(law.ratePerMinute, 100 * QUOTA)
})
