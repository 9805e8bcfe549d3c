import assert from 'node:assert/strict'
import { test } from 'node:test'
import { earnFloors, FLOOR, floorAllows, headroom } from '../../src/domain/classes.ts'

const NEVER = Number.NEGATIVE_INFINITY

test('water is left for a higher class only while one has asked within a minute', () => {
  assert.equal(headroom([NEVER, 0, 0], 1, 10), 0)
  assert.ok(headroom([0, 0, 0], 1, 59_999) > 0)
  assert.equal(headroom([0, 60_000, 60_000], 1, 60_000), 0)
  assert.ok(headroom([NEVER, 0, 0], 2, 59_999) > 0, 'normal is higher than low')
  assert.equal(headroom([0, 0, 0], 0, 0), 0)
})

test('low leaves more than normal does', () => {
  assert.ok(headroom([0, 0, 0], 2, 0) > headroom([0, 0, 0], 1, 0))
})

test('floors are earned by service, whoever gets it, and paid by the class that gets it', () => {
  const credit = [0, 0, 0]
  for (let i = 0; i < 10; i++) earnFloors(credit, 0, 1)
  assert.deepEqual(
    credit.slice(1).map(one => Math.round(one * 100) / 100),
    [10 * FLOOR[1], 10 * FLOOR[2]],
  )
  earnFloors(credit, 1, 1)
  assert.ok(Math.abs(credit[1]! - (11 * FLOOR[1] - 1)) < 1e-9)
})

test('a class long absent has no hoard, and one long served has no endless debt', () => {
  const credit = [0, 0, 0]
  for (let i = 0; i < 10_000; i++) earnFloors(credit, 0, 1)
  assert.ok(credit[1]! <= 6 && credit[2]! <= 6)
  for (let i = 0; i < 10_000; i++) earnFloors(credit, 2, 1)
  assert.ok(credit[2]! >= -120 * FLOOR[2])
  // At 5 % of all service it is entitled again after about the length of its memory.
  let turns = 0
  for (; !floorAllows(credit, 2, 1); turns++) earnFloors(credit, 0, 1)
  assert.ok(turns >= 100 && turns <= 160, String(turns))
})

test('a floor allows what its credit covers; the highest class has none and needs none', () => {
  assert.equal(floorAllows([100, 1, 0], 0, 0.1), false)
  assert.equal(floorAllows([0, 1, 0], 1, 1), true)
  assert.equal(floorAllows([0, 1, 0], 1, 1.1), false)
})

test('a request that costs more than credit can ever be is allowed once the credit is full', () => {
  assert.equal(floorAllows([0, 6, 0], 1, 30), true)
  assert.equal(floorAllows([0, 5.9, 0], 1, 30), false)
})
