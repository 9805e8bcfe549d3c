// The heaviest of any stream are held, and nobody is credited with more than it had.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Heaviest } from '../../src/telemetry/heaviest.ts'
import { seeded } from '../support/seeds.ts'

test('whoever has more than its part of all is held, and nobody is said to have had more than it did', t => {
  // A few names that come often, among many that hardly come twice.
  const name = fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.nat(200).map(String))
  const stream = fc.array(fc.tuple(name, fc.integer({ min: 1, max: 50 })), { maxLength: 300 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), stream, (places, uses) => {
      const heaviest = new Heaviest(places)
      const real = new Map<string, number>()
      for (const [one, amount] of uses) {
        heaviest.add(one, amount)
        real.set(one, (real.get(one) ?? 0) + amount)
      }
      const held = heaviest.most(Number.POSITIVE_INFINITY)
      const total = uses.reduce((sum, [, amount]) => sum + amount, 0)
      assert.ok(held.length <= places)
      for (const [one, atLeast] of held) assert.ok(atLeast > 0 && atLeast <= real.get(one)!, one)
      for (const [one, amount] of real)
        if (amount > total / places)
          assert.ok(
            held.some(([known]) => known === one),
            one,
          )
    }),
    seeded(t, 500),
  )
})

test('as long as there are places every amount is exact, the heaviest first', () => {
  const heaviest = new Heaviest(3)
  for (const [one, amount] of [
    ['a', 1],
    ['b', 5],
    ['c', 2],
    ['a', 3],
  ] as const)
    heaviest.add(one, amount)
  assert.deepEqual(heaviest.most(2), [
    ['b', 5],
    ['a', 4],
  ])
  heaviest.clear()
  assert.deepEqual(heaviest.most(2), [])
})
