import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AimdState, startAimd, stepAimd } from '../../src/domain/aimd.ts'
import type { Feedback } from '../../src/domain/episode.ts'
import type { AimdSettings } from '../../src/domain/model.ts'
import { seeded } from '../support/seeds.ts'

const SETTINGS = { start: 100, min: 10, max: 200, increase: 1.1, successes: 100, decrease: 0.5 }
const calm = { accepted: 10, amount: 10, throttled: 0, limited: true, elapsedMs: 250 }

function run(law: AimdState, steps: Partial<Feedback>[], settings: AimdSettings = SETTINGS): AimdState {
  return steps.reduce<AimdState>(
    (state, step, i) => stepAimd(state, { ...calm, ...step, nowMs: 1_000 + i * 250 }, settings),
    law,
  )
}

const times = (count: number, step: Partial<Feedback>) => new Array<Partial<Feedback>>(count).fill(step)

test('it begins with its part of the configured quota', () => {
  assert.equal(startAimd(600, { ...SETTINGS, start: 50 }).ratePerMinute, 300)
})

test('a run of 100 accepted calls is a tenth more, and no run is lost when reports bring several', () => {
  assert.equal(run(startAimd(600, SETTINGS), times(9, {})).ratePerMinute, 600)
  assert.ok(Math.abs(run(startAimd(600, SETTINGS), times(10, {})).ratePerMinute - 660) < 1e-9)
  const many = run(startAimd(600, SETTINGS), [{ accepted: 250 }])
  assert.ok(Math.abs(many.ratePerMinute - 726) < 1e-9)
  assert.equal(many.run, 50)
})

test('an episode is one cut in half, however many throttles it has, and a new run', () => {
  const law = run(startAimd(600, SETTINGS), [...times(5, {}), ...times(4, { throttled: 7 })])
  assert.deepEqual([law.ratePerMinute, law.cuts, law.run], [300, 1, 0])
})

test('a pool that accepts nothing is cut once', () => {
  assert.equal(run(startAimd(600, SETTINGS), times(200, { accepted: 0, throttled: 1 })).ratePerMinute, 300)
})

test('a rate that nobody uses is not raised', () => {
  assert.equal(run(startAimd(600, SETTINGS), times(200, { limited: false })).ratePerMinute, 600)
})

test('new bounds hold at the next step', () => {
  const law = run(startAimd(600, SETTINGS), times(100, {}))
  assert.equal(law.ratePerMinute, 1_200)
  assert.equal(run(law, [{ accepted: 0 }], { ...SETTINGS, max: 120 }).ratePerMinute, 720)
})

test('whatever happens, it stays within its bounds', t => {
  const step = fc.record({
    accepted: fc.nat(500),
    throttled: fc.oneof(fc.constant(0), fc.nat(5)),
    limited: fc.boolean(),
    elapsedMs: fc.nat(5_000),
  })
  const settings = fc.record({
    start: fc.double({ min: 20, max: 100, noNaN: true }),
    min: fc.double({ min: 0.1, max: 20, noNaN: true }),
    max: fc.double({ min: 100, max: 10_000, noNaN: true }),
    increase: fc.double({ min: 1, max: 10, noNaN: true }),
    successes: fc.integer({ min: 1, max: 1_000 }),
    decrease: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
  })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1e7 }),
      settings,
      fc.array(step, { maxLength: 100 }),
      (quota, chosen, steps) => {
        let law = startAimd(quota, chosen)
        let nowMs = 1_000
        let cutAtMs = Number.NEGATIVE_INFINITY
        for (const one of steps) {
          nowMs += one.elapsedMs
          const after = stepAimd(law, { ...one, amount: one.accepted, nowMs }, chosen)
          if (after.cuts > law.cuts) {
            assert.ok(one.throttled > 0 && nowMs >= cutAtMs + 1_000)
            cutAtMs = nowMs
          }
          if (after.ratePerMinute > law.ratePerMinute) assert.ok(one.limited && one.throttled === 0)
          assert.ok(
            after.ratePerMinute >= (quota * chosen.min) / 100 && after.ratePerMinute <= (quota * chosen.max) / 100,
          )
          law = after
        }
      },
    ),
    seeded(t, 300),
  )
})
