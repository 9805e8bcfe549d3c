import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { HIGH, LOW, NORMAL, RoomBench } from '../support/roomBench.ts'
import { seeded } from '../support/seeds.ts'

/** 1000 requests a minute: a burst of 50, some 16 a second. */
const POOL = { name: 'p', requestsPerMinute: 1_000 }
const TWO = [
  { name: 'p', requestsPerMinute: 1_000 },
  { name: 'q', requestsPerMinute: 1_000 },
]
const RANKS = [HIGH, NORMAL, LOW]

function fill(bench: RoomBench, rank: number, count: number, prefix = ''): void {
  for (let i = 0; i < count; i++) bench.ask(`${prefix}${rank}-${i}`, { rank })
}

const ranks = (bench: RoomBench, from = 0) => bench.turns.slice(from).map(turn => turn.rank)

test('high goes before normal and normal before low, whoever came first', () => {
  const bench = new RoomBench([POOL])
  for (const rank of [LOW, NORMAL, HIGH]) fill(bench, rank, 10)
  bench.pass(10_000)
  assert.equal(bench.turns.length, 30)
  // Ten turns are too few for a floor to be earned.
  assert.deepEqual(
    ranks(bench),
    RANKS.flatMap(rank => new Array(10).fill(rank)),
  )
})

test('a flood of high does not stop the others: normal keeps a tenth, low a twentieth', () => {
  const bench = new RoomBench([POOL])
  for (const rank of RANKS) fill(bench, rank, 1_500)
  bench.pass(60_000)
  const counts = RANKS.map(rank => ranks(bench).filter(one => one === rank).length)
  const total = bench.turns.length
  assert.ok(Math.abs(counts[NORMAL]! / total - 0.1) < 0.01, counts.join())
  assert.ok(Math.abs(counts[LOW]! / total - 0.05) < 0.01, counts.join())
  assert.ok(total >= 0.95 * 950, 'and nothing is wasted')
})

test('normal and low leave the last of a burst to high, so high finds water at once', () => {
  for (const [rank, most] of [
    [NORMAL, 25],
    [LOW, 15],
  ] as const) {
    const bench = new RoomBench([POOL])
    bench.ask('first', { rank: HIGH })
    bench.pass(10_000)
    bench.tick()
    const before = bench.turns.length
    fill(bench, rank, 100)
    const taken = bench.turns.length - before
    assert.ok(taken <= most && taken >= most - 1, `${taken} of 50 at once`)
    assert.equal(bench.ask('urgent', { rank: HIGH }).kind, 'granted')
  }
})

test('without a higher class in sight normal takes the whole burst, and again once high has been quiet for a minute', () => {
  const bench = new RoomBench([POOL])
  bench.pass(10_000)
  fill(bench, NORMAL, 60, 'a')
  assert.equal(bench.turns.length, 50)
  bench.pass(10_000)
  bench.ask('urgent', { rank: HIGH })
  bench.pass(61_000)
  const before = bench.turns.length
  fill(bench, NORMAL, 60, 'b')
  assert.equal(bench.turns.length - before, 50)
})

test('nobody overtakes a small head that waits: the pool it could use is shut to all behind it', () => {
  const bench = new RoomBench([{ name: 'p', tokensPerMinute: 60_000 }])
  bench.ask('head', { user: 'a', tokens: 1_500 })
  bench.ask('smaller', { user: 'b', tokens: 10 })
  // More than the floor that low will have earned by the head's turn.
  bench.ask('lower', { user: 'c', tokens: 200, rank: LOW })
  bench.pass(1_400)
  assert.deepEqual(bench.order(), [])
  bench.pass(4_000)
  assert.deepEqual(bench.order(), ['head', 'smaller', 'lower'])
})

test('one whose pools have nothing does not hold back another who can use a pool that has', () => {
  const bench = new RoomBench([
    { name: 'small', tokensPerMinute: 1_000 },
    { name: 'big', tokensPerMinute: 600_000 },
  ])
  bench.pass(10_000)
  // Larger than a minute of `small`: only `big` can ever hold it, and `big` is shut.
  bench.gate('big', SHUT)
  bench.ask('fits big only', { user: 'a', tokens: 2_000 })
  bench.ask('fits small too', { user: 'b', tokens: 10 })
  assert.deepEqual(bench.order(), ['fits small too'])
})

test('a shut pool gets nothing, whatever waits, and when it opens the first in line goes', () => {
  const bench = new RoomBench(TWO)
  bench.pass(10_000)
  bench.gate('p', SHUT)
  fill(bench, NORMAL, 60)
  bench.pass(1_000)
  assert.ok(bench.turns.every(turn => turn.pool === 'q'))
  bench.gate('q', SHUT)
  const before = bench.turns.length
  bench.pass(5_000)
  assert.equal(bench.turns.length, before)
  assert.equal(bench.ask('late', { rank: HIGH }).kind, 'waiting')
  bench.gate('p', OPEN_TO_ALL)
  assert.equal(bench.order(before)[0], 'late')
  assert.ok(bench.turns.slice(before).every(turn => turn.pool === 'p'))
})

test('a pool that is tried again lets exactly as many probes through as it was told, at once or from the line', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 }), fc.nat(8), fc.nat(8), (probes, before, after) => {
      const bench = new RoomBench([POOL])
      bench.pass(10_000)
      bench.gate('p', SHUT)
      fill(bench, NORMAL, before, 'before ')
      bench.gate('p', probes)
      fill(bench, NORMAL, after, 'after ')
      bench.pass(10_000)
      assert.equal(bench.turns.length, Math.min(probes, before + after))
      assert.equal(bench.pool('p').gate, probes - bench.turns.length)
    }),
    seeded(t, 100),
  )
})

test('a probe that is settled or throttled opens no other place', () => {
  const bench = new RoomBench([POOL])
  bench.pass(10_000)
  bench.gate('p', 2)
  fill(bench, NORMAL, 5)
  bench.settle('1-0')
  bench.requeue('1-1')
  bench.pass(10_000)
  assert.deepEqual(bench.order(), ['1-0', '1-1'])
})

test('of several pools that fit, the one with the most water is picked, by seconds of its own quota', () => {
  const bench = new RoomBench([
    { name: 'small', tokensPerMinute: 10_000 },
    { name: 'large', tokensPerMinute: 100_000 },
  ])
  bench.pass(10_000)
  bench.ask('a', { tokens: 100 })
  assert.equal(bench.granted('a')!.pool, 'large')
  // Now `large` has 2 s left, `small` 3 s.
  bench.ask('b', { tokens: 1_500 })
  bench.ask('c', { tokens: 1_500 })
  bench.ask('d', { tokens: 10 })
  assert.equal(bench.granted('d')!.pool, 'small')
})
