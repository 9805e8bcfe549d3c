import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bucketShape, emptyBucket, msUntil, refill } from '../../src/domain/bucket.ts'
import { seeded } from '../support/seeds.ts'

test('a fresh bucket is empty: a restart must not grant a burst that was already spent', () => {
  assert.equal(emptyBucket(1_000).level, 0)
})

test('a bucket refills at its rate and stops at its burst', () => {
  const shape = bucketShape(60_000, 0.05)
  const state = emptyBucket(0)
  refill(state, shape, 1_000)
  assert.equal(state.level, 950)
  refill(state, shape, 60_000)
  assert.equal(state.level, 3_000)
})

test('a bucket that has held no stock for a minute refills at the fast speed, until it holds one', () => {
  const shape = bucketShape(60_000, 0.05)
  const state = { level: 0, asOfMs: 60_000, stockedAtMs: 0 }
  refill(state, shape, 61_000)
  assert.equal(state.level, 980)
  refill(state, shape, 63_000)
  assert.ok(state.level > shape.stock && state.level < 2_940)
  assert.equal(state.stockedAtMs, 63_000)
})

test('a burst below one request is raised to one, or a small quota would never pass anything', () => {
  assert.equal(bucketShape(4, 0.05).burst, 1)
})

test('a clock that steps back a little holds, and one that jumps back resyncs, neither giving credit', () => {
  const shape = bucketShape(60_000, 0.05)
  const state = { level: 100, asOfMs: 10_000, stockedAtMs: 0 }
  refill(state, shape, 8_500)
  assert.deepEqual(state, { level: 100, asOfMs: 10_000, stockedAtMs: 0 })
  refill(state, shape, 5_000)
  assert.deepEqual(state, { level: 100, asOfMs: 5_000, stockedAtMs: 5_000 })
  refill(state, shape, 5_100)
  assert.equal(state.level, 195)
})

test('refilling in steps is refilling at once: how often it is asked changes nothing', t => {
  const steps = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(quotas, levels, sinceStock, steps, (quota, level, sinceMs, stepsMs) => {
      const shape = bucketShape(quota, 0.05)
      const once = { level: Math.min(level, shape.stock), asOfMs: 0, stockedAtMs: -sinceMs }
      const stepped = { ...once }
      let nowMs = 0
      for (const stepMs of stepsMs) {
        nowMs += stepMs
        refill(stepped, shape, nowMs)
      }
      refill(once, shape, nowMs)
      assert.ok(Math.abs(once.level - stepped.level) <= 1e-6 * Math.max(1, quota))
    }),
    seeded(t, 100),
  )
})

const quotas = fc.integer({ min: 1, max: 10_000_000 })
const levels = fc.integer({ min: -50_000, max: 50_000 })
const sinceStock = fc.integer({ min: 0, max: 120_000 })

test('msUntil names the moment the level is reached, and no earlier', t => {
  fc.assert(
    fc.property(quotas, levels, sinceStock, fc.integer({ min: 1, max: 100_000 }), (quota, level, sinceMs, wanted) => {
      const shape = bucketShape(quota, 0.05)
      const state = { level: Math.min(level, shape.burst), asOfMs: 0, stockedAtMs: level > shape.stock ? 0 : -sinceMs }
      const waitMs = msUntil(state, shape, wanted)
      const target = Math.min(wanted, shape.burst)
      const slack = 1e-6 * Math.max(1, Math.abs(target), Math.abs(level))
      refill(state, shape, waitMs)
      assert.ok(state.level >= target - slack)
      if (waitMs > 0) assert.ok(state.level <= target + slack)
    }),
    seeded(t, 2_000),
  )
})

test('what small requests take in any 60 s never exceeds the quota', t => {
  const gaps = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 3_000 }),
    fc.integer({ min: 0, max: 90_000 }),
  )
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.array(gaps, { minLength: 50, maxLength: 600 }),
      (quota, gapsMs) => {
        const shape = bucketShape(quota, 0.05)
        const state = emptyBucket(0)
        const takenAtMs: number[] = []
        let nowMs = 0
        for (const gapMs of gapsMs) {
          nowMs += gapMs
          refill(state, shape, nowMs)
          // A crowd that takes all there is, or a single caller: both must be bounded.
          while (state.level >= 1) {
            state.level -= 1
            takenAtMs.push(nowMs)
          }
        }
        for (let first = 0, last = 0; last < takenAtMs.length; last++) {
          while (takenAtMs[first]! <= takenAtMs[last]! - 60_000) first++
          assert.ok(last - first + 1 <= quota, `${last - first + 1} in a minute of a quota of ${quota}`)
        }
      },
    ),
    seeded(t, 500),
  )
})

test('a pool that is always busy is used to 97 % or more', () => {
  for (const quota of [60, 600, 10_000]) {
    const shape = bucketShape(quota, 0.05)
    const state = emptyBucket(0)
    let taken = 0
    for (let nowMs = 0; nowMs <= 600_000; nowMs += 5) {
      refill(state, shape, nowMs)
      while (state.level >= 1) {
        state.level -= 1
        taken += 1
      }
    }
    assert.ok(taken / (10 * quota) >= 0.97, `${taken / (10 * quota)} of ${quota}`)
  }
})
