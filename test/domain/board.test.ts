// What the board is told of buckets and purses, and what a call that failed costs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Board } from '../../src/domain/board.ts'
import { HIGH, LOW, RoomBench } from '../support/roomBench.ts'

function limited(bench: RoomBench, board: Board): string[] {
  const { pools } = board.report('here', [], bench.nowMs)
  const [{ limited }] = pools as [NonNullable<typeof pools>[number]]
  return Object.entries(limited).flatMap(([dimension, is]) => (is ? [dimension] : []))
}

test('a head is blocked by the bucket that is short for it, requests or tokens or both', () => {
  for (const [requests, tokens, expected] of [
    [60, 6e6, ['requests']],
    [6_000, 600, ['tokens']],
    [60, 600, ['requests', 'tokens']],
    [6_000, 6e6, []],
  ] as const) {
    const bench = new RoomBench([{ name: 'p', requestsPerMinute: requests, tokensPerMinute: tokens }])
    const board = new Board(bench.room)
    bench.pass(60_000)
    for (let i = 0; i < 20; i++) bench.ask(`${i}`, { tokens: 10 })
    assert.deepEqual(limited(bench, board), expected)
  }
})

test('a bucket that keeps its last part for a class above limits the one below', () => {
  const bench = new RoomBench([{ name: 'p', tokensPerMinute: 6_000 }])
  const board = new Board(bench.room)
  bench.pass(60_000)
  bench.ask('high', { rank: HIGH, tokens: 100 })
  bench.ask('low', { rank: LOW, tokens: 50 })
  assert.equal(bench.granted('low'), undefined)
  assert.deepEqual(limited(bench, board), ['tokens'])
})

test('a large head that is due and waits for its purse is limited by tokens; what is saved counts as full', () => {
  const bench = new RoomBench([{ name: 'p', tokensPerMinute: 6_000 }])
  const board = new Board(bench.room)
  bench.ask('large', { tokens: 1_000 })
  bench.ask('other', { tokens: 1_000, user: 'v' })
  bench.pass(4_000)
  assert.ok(bench.pool('p').purse > 100)
  assert.deepEqual(limited(bench, board), ['tokens'])
  assert.ok(bench.pool('p').fill.tokens > 0.9)
})

test('a call that failed gives back what it was not charged, its request stays spent, and its only pool does not rest', () => {
  const bench = new RoomBench([{ name: 'p', requestsPerMinute: 600, tokensPerMinute: 6_000 }])
  bench.pass(60_000)
  bench.ask('a', { tokens: 200 })
  const { requests, tokens } = bench.pool('p')
  const before = [requests!.state.level, tokens!.state.level]
  assert.equal(bench.requeue('a', 50)?.kind, 'granted')
  assert.deepEqual([requests!.state.level, tokens!.state.level], [before[0]! - 1, before[1]! + 150 - 200])
  assert.equal(bench.requeue('a')?.kind, 'waiting', 'after a throttle it rests')
})
