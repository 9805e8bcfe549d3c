import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Priority } from '../../src/domain/model.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { VirtualClock } from '../support/virtualClock.ts'

function stageOf(limit: number) {
  const clock = new VirtualClock()
  const seconds: number[] = []
  const stage = new Stage('price', limit, clock, { observe: one => seconds.push(one) })
  return { clock, stage, seconds }
}

function fill(stage: Stage, priority: Priority): number {
  let entered = 0
  while (stage.enter(priority)) entered += 1
  return entered
}

test('a full stage takes nothing, and keeps its last fifth from low requests and its last tenth from normal ones', () => {
  const { stage } = stageOf(100)
  assert.deepEqual([fill(stage, 'low'), fill(stage, 'normal'), fill(stage, 'high')], [80, 10, 10])
  assert.equal(stage.enter('high'), false)
  assert.equal(stage.depth, 100)
  stage.leave()
  assert.equal(stage.enter('high'), true)
})

test('what does not fit leaves nothing behind, and less may still fit', () => {
  const { stage } = stageOf(1000)
  assert.equal(stage.enter('high', 700), true)
  assert.equal(stage.enter('high', 301), false)
  assert.equal(stage.depth, 700)
  assert.equal(stage.enter('high', 300), true)
})

test('one who is refused is told how long those within have stayed of late', async () => {
  const { clock, stage } = stageOf(20)
  for (let round = 0; round < 30; round += 1) {
    fill(stage, 'high')
    await clock.advance(2_000)
    for (let i = 0; i < 20; i += 1) stage.leave()
  }
  fill(stage, 'high')
  const refusal = stage.refusal('normal')
  assert.equal(refusal.code, 'overloaded')
  assert.ok(Math.abs(refusal.retryAfterMs! - 2_000) < 100, `${refusal.retryAfterMs} ms, where everybody stays 2000`)
})

test('who stays does not matter to those who are told: only how long', async () => {
  const { clock, stage } = stageOf(1000)
  for (let round = 0; round < 100; round += 1) {
    for (let i = 0; i < 10; i += 1) stage.enter('high')
    await clock.advance(500)
    for (let i = 0; i < 10; i += 1) stage.leave()
  }
  fill(stage, 'high')
  assert.ok(
    Math.abs(stage.refusal('low').retryAfterMs! - 500) < 50,
    'a stage that was nearly empty is no slower for it',
  )
})

test('while nobody leaves, the time that is told grows, up to half a minute', async () => {
  const { clock, stage } = stageOf(10)
  stage.enter('high')
  await clock.advance(1_000)
  stage.leave()
  fill(stage, 'high')
  const told: number[] = []
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1_000)
    told.push(stage.refusal('high').retryAfterMs!)
  }
  assert.deepEqual(
    told,
    told.toSorted((a, b) => a - b),
  )
  assert.ok(told[0]! < 15_000, String(told[0]))
  assert.equal(told.at(-1), 30_000)
})

test('the time told is never under 100 ms, and a second before anything has been measured', async () => {
  const { stage, clock } = stageOf(1)
  stage.enter('high')
  assert.equal(stage.refusal('high').retryAfterMs, 1_000)
  stage.leave()
  for (let i = 0; i < 50; i += 1) {
    stage.enter('high')
    await clock.advance(1)
    stage.leave()
  }
  assert.equal(stage.refusal('high').retryAfterMs, 100)
})

test('a stage counts as full for five seconds after it has refused, and says whom it refused', async () => {
  const { stage, clock } = stageOf(1)
  assert.equal(stage.isFull, false)
  stage.refusal('low')
  stage.refusal('low')
  stage.refusal('high')
  assert.deepEqual(stage.refused, [1, 0, 2])
  assert.equal(stage.isFull, true)
  await clock.advance(5_000)
  assert.equal(stage.isFull, false)
})

test('a clock that is set back spoils no figure', async () => {
  let nowMs = 1_000_000
  const stage = new Stage('send', 2, { nowMs: () => nowMs, after: () => () => {} }, { observe() {} })
  stage.enter('high')
  nowMs -= 500_000
  stage.leave()
  stage.enter('high')
  nowMs += 700
  stage.leave()
  const told = stage.refusal('high').retryAfterMs!
  assert.ok(told > 300 && told <= 700, `${told} ms`)
})
