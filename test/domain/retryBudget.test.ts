// The budget's promise over any history, and the backoff's bounds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { backoffMs, RetryBudget } from '../../src/domain/retryBudget.ts'
import { RETRIES } from '../support/pushback.ts'
import { seeded } from '../support/seeds.ts'

const step = fc.record({ passMs: fc.nat(3_000), requests: fc.nat(400), failures: fc.nat(400) })
const history = fc.array(step, { minLength: 1, maxLength: 60 })
const budgetSettings = fc.record({
  budgetShare: fc.constantFrom(0, 0.1, 0.25, 1),
  budgetPerS: fc.constantFrom(0, 0.5, 1, 20),
})

test('over any history retries stay within the share of requests and the floor, and over any part of one within what was saved up besides', async t => {
  await fc.assert(
    fc.property(budgetSettings, history, (settings, steps) => {
      const retries = { ...RETRIES, ...settings }
      const budget = new RetryBudget(retries, 0)
      const marks = [{ nowMs: 0, requests: 0, spent: 0 }]
      let nowMs = 0
      let requests = 0
      let spent = 0
      for (const { passMs, requests: more, failures } of steps) {
        nowMs += passMs
        for (let i = 0; i < more; i++) budget.earn(retries)
        requests += more
        for (let i = 0; i < failures; i++) if (budget.spend(retries, nowMs)) spent += 1
        marks.push({ nowMs, requests, spent })
      }
      const { budgetShare, budgetPerS } = settings
      const earned = (from: (typeof marks)[number], to: (typeof marks)[number]) =>
        budgetShare * (to.requests - from.requests) + budgetPerS * ((to.nowMs - from.nowMs) / 1000)
      const saved = budgetShare * 1_000 + budgetPerS * 10
      for (const [i, to] of marks.entries()) {
        assert.ok(to.spent <= earned(marks[0]!, to) + budgetPerS * 10 + 1e-6, `since the start: ${to.spent}`)
        for (const from of marks.slice(0, i))
          assert.ok(to.spent - from.spent <= earned(from, to) + saved + 1e-6, `${to.spent - from.spent} in a part`)
      }
    }),
    seeded(t, 200),
  )
})

test('what is earned is there to be spent: ten requests pay for one retry, one second for another', () => {
  const retries = { ...RETRIES, budgetPerS: 0 }
  const budget = new RetryBudget(retries, 0)
  assert.equal(budget.spend(retries, 0), false)
  for (let i = 0; i < 10; i++) budget.earn(retries)
  assert.deepEqual([budget.spend(retries, 0), budget.spend(retries, 0)], [true, false])
  const timed = { ...RETRIES, budgetShare: 0 }
  const floor = new RetryBudget(timed, 0)
  for (let i = 0; i < 10; i++) assert.equal(floor.spend(timed, 0), true, 'ten seconds are there from the start')
  assert.deepEqual(
    [floor.spend(timed, 900), floor.spend(timed, 1_000), floor.spend(timed, 1_000)],
    [false, true, false],
  )
})

test('an hour without requests saves up ten seconds of the floor, and no more', () => {
  const retries = { ...RETRIES, budgetShare: 0 }
  const budget = new RetryBudget(retries, 0)
  const spent = Array.from({ length: 20 }, () => budget.spend(retries, 3_600_000))
  assert.equal(spent.filter(Boolean).length, 10)
})

test('a clock that steps back earns nothing and breaks nothing', () => {
  const retries = { ...RETRIES, budgetShare: 0 }
  const budget = new RetryBudget(retries, 100_000)
  for (let i = 0; i < 10; i++) budget.spend(retries, 100_000)
  assert.equal(budget.spend(retries, 0), false)
  assert.equal(budget.spend(retries, 1_000), true)
})

test('the backoff is drawn from 0 to base · 2ⁿ, never above the longest', () => {
  const top = (n: number) => backoffMs(RETRIES, n, undefined, () => 1)
  assert.deepEqual([0, 1, 2, 3, 7, 8, 60].map(top), [100, 200, 400, 800, 12_800, 20_000, 20_000])
  assert.equal(
    backoffMs(RETRIES, 5, undefined, () => 0),
    0,
  )
})

test("the upstream's hint lengthens the backoff, never shortens it, and by 5 s at most", () => {
  const drawn = (hintMs: number) => backoffMs(RETRIES, 3, hintMs, () => 0.5)
  assert.deepEqual([0, 400, 2_000, 5_400, 60_000].map(drawn), [400, 400, 2_000, 5_400, 5_400])
})
