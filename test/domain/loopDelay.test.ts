import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LoopDelay } from '../../src/domain/loopDelay.ts'
import { PRIORITIES } from '../../src/domain/model.ts'
import { seeded } from '../support/seeds.ts'

const EVERY_MS = 50

/** Who is shed, the lowest first. */
function shed(loop: LoopDelay): string[] {
  return PRIORITIES.filter(priority => loop.shed(priority) !== undefined).toReversed()
}

/** As late every time, until it has settled. */
function steady(loop: LoopDelay, lateMs: number): void {
  for (let ms = 0; ms < 20_000; ms += EVERY_MS + lateMs) loop.sample(EVERY_MS, lateMs)
}

test('the later the loop, the more are shed: low first, then normal, at last all', () => {
  const found = [190, 210, 390, 410, 790, 810].map(lateMs => {
    const loop = new LoopDelay(200)
    steady(loop, lateMs)
    assert.ok(Math.abs(loop.delayMs - lateMs) < 1, `${loop.delayMs} ms of ${lateMs}`)
    return shed(loop)
  })
  const all = ['low', 'normal', 'high']
  assert.deepEqual(found, [[], ['low'], ['low'], ['low', 'normal'], ['low', 'normal'], all])
})

test('a class that was shut out comes back at half the delay that shut it out, not at once', () => {
  const loop = new LoopDelay(200)
  const seen = [210, 190, 110, 90, 150, 190, 210].map(lateMs => {
    steady(loop, lateMs)
    return shed(loop).length
  })
  assert.deepEqual(seen, [1, 1, 1, 0, 0, 0, 1])
})

test('a delay that swings about the bound does not let a class in and out each time', () => {
  const loop = new LoopDelay(200)
  let changes = 0
  let before = 0
  for (let i = 0; i < 2_000; i += 1) {
    loop.sample(EVERY_MS, i % 40 < 20 ? 120 : 290)
    if (shed(loop).length !== before) changes += 1
    before = shed(loop).length
  }
  assert.equal(changes, 1)
})

test('one short block sheds nobody; a long one counts for as long as it was', () => {
  const loop = new LoopDelay(200)
  loop.sample(EVERY_MS, 190)
  assert.deepEqual(shed(loop), [])
  for (let i = 0; i < 60; i += 1) loop.sample(EVERY_MS, 0)
  loop.sample(EVERY_MS, 1_000)
  assert.deepEqual(shed(loop), ['low', 'normal'], 'a second of standing still is not averaged away by many quick turns')
})

test('a process that stood still for an hour lets all in again within five seconds', () => {
  const loop = new LoopDelay(200)
  loop.sample(EVERY_MS, 3_600_000)
  assert.equal(shed(loop).length, 3)
  let ms = 0
  while (shed(loop).length > 0) {
    loop.sample(EVERY_MS, 0)
    ms += EVERY_MS
  }
  assert.ok(ms <= 5_000, `${ms} ms`)
})

test('one who comes back when told, to a loop that is well again, is let in', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 50 }),
      fc.constantFrom(...PRIORITIES),
      (lates, priority) => {
        const loop = new LoopDelay(200)
        for (const late of lates) loop.sample(EVERY_MS, late)
        const refusal = loop.shed(priority)
        if (!refusal) return
        assert.equal(refusal.code, 'overloaded')
        assert.ok(refusal.retryAfterMs! >= 100 && refusal.retryAfterMs! <= 30_000)
        for (let ms = 0; ms < refusal.retryAfterMs!; ms += EVERY_MS) loop.sample(EVERY_MS, 0)
        loop.sample(EVERY_MS, 0)
        assert.equal(loop.shed(priority), undefined)
      },
    ),
    seeded(t, 500),
  )
})

test('a class is never let in while a higher one is shed', t => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 100 }), lates => {
      const loop = new LoopDelay(100)
      for (const late of lates) {
        loop.sample(EVERY_MS, late)
        assert.deepEqual(shed(loop), ['low', 'normal', 'high'].slice(0, shed(loop).length))
      }
    }),
    seeded(t, 300),
  )
})

test('it counts whom it shed', () => {
  const loop = new LoopDelay(100)
  steady(loop, 150)
  for (const priority of PRIORITIES) loop.shed(priority)
  assert.deepEqual(loop.refused, [0, 0, 1])
})
