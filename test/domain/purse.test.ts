// Pools of 60,000 tokens a minute: a burst of 3,000, some 950 to 980 a second. A request is large above two seconds of
// the whole model's quota.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SHUT } from '../../src/domain/pool.ts'
import { HIGH, LOW, NORMAL, RoomBench } from '../support/roomBench.ts'
import { seeded } from '../support/seeds.ts'

const POOL = { name: 'p', tokensPerMinute: 60_000 }
const TWO = [
  { name: 'p', tokensPerMinute: 60_000 },
  { name: 'q', tokensPerMinute: 60_000 },
]

/** Users who always have `depth` small requests in line; returns what to do at each look. */
function crowd(bench: RoomBench, users: number, depth = 3, rank = NORMAL): () => void {
  let count = 0
  return () => {
    for (let i = 0; i < users; i++) {
      const user = `small ${rank} ${i}`
      const waiting = bench.room.queues[rank]!.clients.get('c')?.users.get(user)?.tickets.length ?? 0
      for (let n = waiting; n < depth; n++) bench.ask(`${user} #${count++}`, { user, tokens: 100, rank })
    }
  }
}

test('a large request is not starved by small ones: it goes when its user has saved up its fair part', () => {
  const bench = new RoomBench([POOL])
  const fill = crowd(bench, 3)
  fill()
  bench.ask('large', { user: 'large', tokens: 9_000 })
  bench.pass(60_000, fill)
  // A quarter of 950 a second: 38 s.
  const { atMs } = bench.granted('large')!
  assert.ok(atMs >= 25_000 && atMs <= 42_000, String(atMs))
})

test('a large request does not block small ones: while it is saved for they go on at their pace', () => {
  const bench = new RoomBench([POOL])
  const fill = crowd(bench, 3)
  fill()
  bench.ask('large', { user: 'large', tokens: 9_000 })
  bench.pass(60_000, fill)
  const small = bench.turns.filter(turn => turn.id !== 'large').map(turn => turn.atMs)
  const gaps = small.map((atMs, i) => atMs - (small[i - 1] ?? 0))
  assert.ok(Math.max(...gaps) <= 1_100, `a gap of ${Math.max(...gaps)} ms`)
  const tokens = bench.turns.reduce((sum, turn) => sum + turn.tokens, 0)
  assert.ok(tokens >= 0.97 * 57_000, `saving wastes nothing: ${tokens} tokens in a minute`)
})

test('whoever asks for how much, a purse holds at most half a minute, or the one ticket that goes next', t => {
  const ask = fc.record({
    gapMs: fc.nat(2_000),
    user: fc.constantFrom('a', 'b', 'c', 'd'),
    rank: fc.constantFrom(HIGH, NORMAL, LOW),
    tokens: fc.oneof(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 2_000, max: 60_000 })),
  })
  fc.assert(
    fc.property(fc.array(ask, { minLength: 1, maxLength: 40 }), asks => {
      const bench = new RoomBench([...TWO, { name: 'r', tokensPerMinute: 20_000, requestsPerMinute: 10 }])
      const check = () => {
        for (const { name, purse, tokens } of bench.room.pools) {
          // Half a token is as good as none missing.
          assert.ok(purse >= -0.5, `${name} owes ${purse}`)
          const quota = tokens!.shape.quotaPerMinute
          const largest = asks.reduce((most, one) => (one.tokens <= quota ? Math.max(most, one.tokens) : most), 0)
          assert.ok(purse <= Math.max(quota / 2, largest) + 1e-6, `${name} holds ${purse}`)
        }
      }
      for (const [i, { gapMs, ...rest }] of asks.entries()) {
        bench.pass(gapMs, check)
        bench.ask(String(i), rest)
        check()
      }
      bench.pass(30_000, check)
    }),
    seeded(t, 100),
  )
})

test('when no large one waits any more, what was saved flows back, at most to a full bucket', () => {
  const bench = new RoomBench([POOL])
  const fill = crowd(bench, 1)
  fill()
  bench.ask('large', { user: 'large', tokens: 30_000 })
  bench.pass(10_000, fill)
  const { purse } = bench.pool('p')
  assert.ok(purse > 3_500, `saved ${purse}`)
  bench.cancel('large')
  assert.equal(bench.pool('p').purse, 0)
  const level = bench.pool('p').tokens!.state.level
  assert.ok(level <= 3_000 && level > 2_500, `${level}: the small ones have taken theirs at once`)
})

test('a large one that waits alone need not be saved for: it goes from a full bucket and leaves a debt', () => {
  const bench = new RoomBench([POOL])
  bench.ask('large', { tokens: 50_000 })
  bench.pass(2_900)
  assert.equal(bench.granted('large'), undefined)
  bench.pass(400)
  assert.ok(bench.granted('large'))
  assert.ok(bench.pool('p').tokens!.state.level < -46_000)
})

for (const other of ['a request', 'a request of a lower class']) {
  test(`while ${other} waits a large one leaves no debt: it is saved for in full`, () => {
    const bench = new RoomBench([POOL])
    const fill = crowd(bench, 1, 3, other === 'a request' ? NORMAL : LOW)
    fill()
    bench.ask('large', { user: 'large', tokens: 20_000 })
    let lowest = 0
    bench.pass(60_000, () => {
      fill()
      lowest = Math.min(lowest, bench.pool('p').tokens!.state.level)
    })
    assert.ok(bench.granted('large'))
    assert.ok(lowest > -1, `a debt of ${lowest}`)
  })
}

test('of two pools one lends only while the other has half its burst to spare', () => {
  const bench = new RoomBench(TWO)
  bench.pass(10_000)
  bench.tick()
  // Takes q's water: now p alone is full.
  bench.gate('p', SHUT)
  bench.ask('drink', { tokens: 2_900, rank: HIGH })
  bench.settle('drink')
  bench.gate('p', -1)
  const fromMs = bench.nowMs
  bench.ask('large', { tokens: 50_000, rank: HIGH })
  assert.equal(bench.granted('large'), undefined)
  bench.pass(10_000)
  const waitMs = bench.granted('large')!.atMs - fromMs
  assert.ok(waitMs >= 1_300 && waitMs <= 2_000, `${waitMs}: q has half a burst again after about 1.5 s`)
})

test('a loan does not come on top of what a purse has just paid: half a minute or the largest request, once', () => {
  const bench = new RoomBench([POOL])
  const fill = crowd(bench, 1)
  fill()
  bench.ask('first', { user: 'large', tokens: 60_000 })
  while (bench.pool('p').purse < 59_000) bench.pass(100, fill)
  const fromMs = bench.nowMs
  const alone = () => {
    for (const { tickets } of bench.room.queues[NORMAL]!.clients.get('c')!.users.values())
      for (const { id } of [...tickets]) if (id.startsWith('small')) bench.cancel(id)
  }
  alone()
  bench.pass(3_500)
  bench.ask('second', { user: 'large', tokens: 60_000 })
  bench.pass(3_500)
  const turns = bench.turns.filter(turn => turn.atMs >= fromMs)
  const tokens = turns.reduce((sum, turn) => sum + turn.tokens, 0)
  const ms = turns.at(-1)!.atMs - fromMs
  assert.ok(tokens <= 3_000 + 0.98 * ms + 60_000, `${tokens} tokens in ${ms} ms of a quota of 60,000 a minute`)
})

for (const [name, rank] of [
  ['normal', NORMAL],
  ['low', LOW],
] as const) {
  test(`under a flood of high, the floor of ${name} serves its large request too, not its small ones alone`, () => {
    const bench = new RoomBench([POOL])
    const fills = [crowd(bench, 2, 3, HIGH), crowd(bench, 1, 3, rank)]
    const fill = () => {
      for (const one of fills) one()
    }
    fill()
    bench.ask('large', { user: 'large', tokens: 4_000, rank })
    bench.pass(400_000, fill)
    assert.ok(bench.granted('large'), 'it has had no turn for 400 s')
  })
}

/** Two large users and a small one over two pools: nothing can be lent. */
function busyTwo(): { bench: RoomBench; fill: () => void } {
  const bench = new RoomBench(TWO)
  const fill = crowd(bench, 1)
  fill()
  return { bench, fill }
}

const saver = (bench: RoomBench, user: string) =>
  bench.room.queues[NORMAL]!.clients.get('c')!.users.get(user)?.tickets[0]?.saver?.pool

test('a large request keeps the pool that saves for it, and two of them take one each', () => {
  const { bench, fill } = busyTwo()
  bench.ask('a', { user: 'a', tokens: 20_000 })
  bench.ask('b', { user: 'b', tokens: 20_000 })
  const first = { a: saver(bench, 'a'), b: saver(bench, 'b') }
  assert.notEqual(first.a, first.b)
  bench.pass(60_000, () => {
    fill()
    for (const user of ['a', 'b'] as const)
      if (!bench.granted(user)) assert.equal(saver(bench, user), first[user], `${user} at ${bench.nowMs}`)
  })
  assert.deepEqual([bench.granted('a')!.pool, bench.granted('b')!.pool], [first.a, first.b])
})

test('when its pool shuts, another saves for it, and it still goes', () => {
  const { bench, fill } = busyTwo()
  bench.ask('a', { user: 'a', tokens: 15_000 })
  const first = saver(bench, 'a')!
  bench.pass(10_000, fill)
  bench.gate(first, SHUT)
  assert.notEqual(saver(bench, 'a'), first)
  bench.pass(60_000, fill)
  assert.equal(bench.granted('a')!.pool, first === 'p' ? 'q' : 'p')
  assert.ok(bench.turns.every(turn => turn.pool !== first || turn.atMs <= 10_000))
})

test('a large request that a pool has throttled is saved for by another', () => {
  const { bench, fill } = busyTwo()
  bench.ask('a', { user: 'a', tokens: 15_000 })
  bench.pass(60_000, fill)
  const { pool } = bench.granted('a')!
  bench.requeue('a')
  assert.notEqual(saver(bench, 'a'), pool)
})

test('nothing is saved for a class while a higher one waits, beyond its floor', () => {
  // Requests bind: there are tokens to save, if anybody would.
  const bench = new RoomBench([{ ...POOL, requestsPerMinute: 300 }])
  const fill = crowd(bench, 2, 3, HIGH)
  fill()
  bench.ask('large', { user: 'large', tokens: 5_000, rank: LOW })
  bench.pass(80_000, () => {
    fill()
    if (!bench.granted('large') && bench.room.credit[LOW]! < 5) assert.equal(bench.pool('p').purse, 0)
  })
  assert.equal(bench.granted('large'), undefined)
  // 5 % of all service: 5 s of credit after 100 s.
  bench.pass(50_000, fill)
  assert.ok(bench.granted('large'), 'its floor keeps it alive')
})
