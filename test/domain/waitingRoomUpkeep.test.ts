// What changes a room from outside: who is gone, new settings, other paces, a lost past, a clock that jumps.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HIGH, RoomBench } from '../support/roomBench.ts'
import { seeded } from '../support/seeds.ts'

const TOKENS = { name: 'p', tokensPerMinute: 60_000 }
/** One in ten minutes: whoever asks second waits. */
const SLOW = { name: 'p', requestsPerMinute: 0.1 }

const level = (bench: RoomBench, pool = 'p') => bench.pool(pool).tokens!.state.level

test('tickets of a gateway not heard of for 10 s leave the line, those of others stay', () => {
  const bench = new RoomBench([SLOW])
  bench.ask('orphan', { gateway: 'dead' })
  bench.ask('mine', { gateway: 'here' })
  bench.pass(10_000)
  assert.equal(bench.room.waitingCount, 2)
  bench.pass(1_100)
  assert.equal(bench.room.waitingCount, 1)
  assert.equal(bench.cancel('mine'), true)
})

for (const [sign, act] of [
  ['a tick', (bench: RoomBench) => bench.tick('quiet')],
  ['a new request', (bench: RoomBench) => void bench.ask('another', { gateway: 'quiet' })],
] as const) {
  test(`${sign} keeps a gateway alive`, () => {
    const bench = new RoomBench([SLOW])
    bench.ask('a', { gateway: 'quiet' })
    bench.pass(8_000)
    act(bench)
    const { waitingCount } = bench.room
    bench.pass(9_000)
    assert.equal(bench.room.waitingCount, waitingCount)
    bench.pass(3_000)
    assert.equal(bench.room.waitingCount, 0, 'and no longer than that')
  })
}

for (const stepMs of [60_000, -60_000]) {
  test(`a clock that steps by ${stepMs} ms makes nobody silent or late`, () => {
    const bench = new RoomBench([SLOW], {}, 1e6)
    bench.ask('a', { gateway: 'other', deadlineMs: 1e6 + 20_000 })
    bench.pass(2_000)
    bench.nowMs += stepMs
    bench.pass(2_000)
    assert.equal(bench.room.waitingCount, 1)
  })
}

test('a ticket nobody withdrew is swept 5 s after its deadline, not at it: its owner is told before', () => {
  const bench = new RoomBench([SLOW])
  bench.ask('a', { deadlineMs: 1_000 })
  bench.pass(6_000)
  assert.equal(bench.room.waitingCount, 1)
  bench.pass(1_100)
  assert.equal(bench.room.waitingCount, 0)
  assert.equal(bench.room.napMs, undefined)
})

test('a reservation nobody settled for 15 minutes stands as the charge, and settling it later gives nothing back', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 1_000 })
  bench.nowMs = 903_000
  bench.tick()
  assert.equal(bench.room.reservedCount, 1)
  bench.nowMs = 904_001
  bench.tick()
  assert.equal(bench.room.reservedCount, 0)
  bench.ask('drink', { tokens: 1_900 })
  const before = level(bench)
  assert.equal(bench.settle('a', 0), false)
  assert.equal(level(bench), before)
})

test('new settings keep levels, waiters and reservations; a new pool starts empty', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 2_000
  bench.ask('runs', { tokens: 500 })
  bench.ask('waits', { tokens: 1_600 })
  const before = level(bench)
  bench.configure([
    { name: 'p', tokensPerMinute: 90_000 },
    { ...TOKENS, name: 'new' },
  ])
  assert.equal(level(bench), before)
  assert.equal(level(bench, 'new'), 0)
  assert.deepEqual([bench.room.waitingCount, bench.room.reservedCount], [1, 1])
  bench.pass(1_000)
  assert.deepEqual(bench.order(), ['runs', 'waits'])
  assert.equal(bench.settle('runs', 500), true)
})

test('a smaller quota cuts a level to its burst, a larger one adds nothing, a new dimension starts empty', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 10_000
  bench.configure([{ name: 'p', tokensPerMinute: 20_000, requestsPerMinute: 600 }])
  assert.equal(level(bench), 1_000)
  assert.equal(bench.pool('p').requests!.state.level, 0)
  bench.configure([{ name: 'p', tokensPerMinute: 200_000 }])
  assert.equal(level(bench), 1_000)
  assert.equal(bench.pool('p').requests, undefined)
})

test('what was reserved in a pool now removed settles harmlessly, and who waited for it is served elsewhere', () => {
  const bench = new RoomBench([TOKENS, { ...TOKENS, name: 'q' }])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 1_000 })
  bench.ask('b', { tokens: 1_000 })
  const used = [bench.granted('a')!.pool, bench.granted('b')!.pool]
  assert.deepEqual(used.toSorted(), ['p', 'q'])
  bench.ask('large', { tokens: 20_000 })
  bench.configure([{ ...TOKENS, name: 'q' }])
  const before = level(bench, 'q')
  const ofP = used[0] === 'p' ? 'a' : 'b'
  assert.equal(bench.settle(ofP, 0), true)
  assert.equal(level(bench, 'q'), before)
  bench.pass(60_000)
  assert.equal(bench.granted('large')!.pool, 'q')
})

test('a throttle by a pool that is gone sends the ticket to those that remain', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('a')
  bench.configure([{ ...TOKENS, name: 'q' }])
  assert.equal(bench.requeue('a')!.kind, 'waiting')
  bench.pass(5_000)
  assert.equal(bench.granted('a')!.pool, 'q')
})

test('new bounds hold for newcomers only', () => {
  const bench = new RoomBench([SLOW])
  for (const id of ['a', 'b', 'c']) bench.ask(id)
  bench.configure([SLOW], { maxWaiting: 1 })
  assert.equal(bench.room.waitingCount, 3)
  const entry = bench.ask('d')
  assert.equal(entry.kind === 'refused' && entry.code, 'queue-full')
})

test('a pace changes how fast a pool refills and how much it holds, not what may ever fit nor what anything costs', () => {
  const bench = new RoomBench([{ ...TOKENS, requestsPerMinute: 600 }])
  bench.nowMs = 10_000
  bench.tick()
  const supply = structuredClone(bench.room.supply)
  bench.room.adjust([{ pool: 'p', believed: { tokensPerMinute: 6_000, requestsPerMinute: 60 } }], bench.nowMs)
  assert.deepEqual(bench.room.supply, supply)
  assert.deepEqual([level(bench), bench.pool('p').requests!.state.level], [300, 3])
  assert.equal(bench.ask('large', { tokens: 50_000 }).kind, 'granted', 'lent, from a full bucket')
  const before = level(bench)
  bench.pass(1_000)
  bench.tick()
  const gained = level(bench) - before
  assert.ok(gained >= 95 && gained <= 98, `${gained} in a second`)
})

test('a pace for what is unlimited, or for a pool that is not there, does nothing', () => {
  const bench = new RoomBench([TOKENS])
  bench.room.adjust([{ pool: 'p', believed: { requestsPerMinute: 1 } }], 0)
  bench.room.adjust([{ pool: 'other', believed: { requestsPerMinute: 1 } }], 0)
  assert.equal(bench.pool('p').requests, undefined)
})

test('a faster pace wakes who waits', () => {
  const bench = new RoomBench([SLOW])
  bench.ask('a')
  bench.pass(1_000)
  bench.room.adjust([{ pool: 'p', believed: { requestsPerMinute: 6_000 } }], bench.nowMs)
  assert.ok(bench.room.napMs! < 1_000)
  bench.pass(100)
  assert.deepEqual(bench.order(), ['a'])
})

test('after a drain nothing that was saved up is left, debts stay, and what flows in counts again', () => {
  const bench = new RoomBench([TOKENS, { ...TOKENS, name: 'q' }])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 100 })
  const { pool } = bench.granted('a')!
  bench.settle('a', 5_000)
  const debt = level(bench, pool)
  assert.ok(debt < 0)
  bench.ask('small', { user: 'v', tokens: 1_900 })
  bench.room.drain(bench.nowMs)
  const other = pool === 'p' ? 'q' : 'p'
  assert.deepEqual([level(bench, pool), level(bench, other)], [debt, 0])
  assert.ok(bench.room.pools.every(one => one.purse === 0))
  bench.nowMs += 1_000
  bench.tick()
  assert.equal(level(bench, other), 950)
})

test('a clock that steps back by less than 2 s stands still: no credit is lost and none is given twice', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 2_000
  bench.tick()
  bench.nowMs = 500
  bench.tick()
  assert.equal(level(bench), 1_900)
  bench.nowMs = 2_100
  bench.tick()
  assert.equal(level(bench), 1_995)
  assert.equal(bench.room.queues[HIGH]!.virtualS, 2.1, 'nor does virtual time run twice')
})

test('a clock that jumps back further starts anew from there, without credit, and the line moves on', () => {
  const bench = new RoomBench([TOKENS], {}, 1_000_000)
  bench.ask('a', { tokens: 1_900 })
  bench.nowMs += 1_000
  bench.tick()
  bench.nowMs = 5_000
  bench.tick()
  assert.equal(level(bench), 950)
  bench.pass(900)
  assert.deepEqual(bench.order(), [])
  bench.pass(200)
  assert.deepEqual(bench.order(), ['a'])
})

test('however the clock steps, no more passes than the time that went forward allows', t => {
  const step = fc.integer({ min: -10_000, max: 3_000 })
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), steps => {
      const bench = new RoomBench([TOKENS], {}, 1e9)
      for (let i = 0; i < 100; i++) bench.ask(String(i), { tokens: 500, rank: HIGH })
      let forwardMs = 0
      for (const stepMs of steps) {
        bench.nowMs += stepMs
        forwardMs += Math.max(0, stepMs)
        bench.tick()
        const tokens = bench.turns.reduce((sum, turn) => sum + turn.tokens, 0)
        assert.ok(tokens <= 0.98 * forwardMs + 1e-3, `${tokens} after ${forwardMs} ms`)
      }
    }),
    seeded(t, 200),
  )
})
