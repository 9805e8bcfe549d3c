import assert from 'node:assert/strict'
import { test } from 'node:test'
import { admissionRefusal } from '../../src/domain/refusal.ts'
import type { Entry } from '../../src/domain/room.ts'
import { MAX_REQUEUES } from '../../src/domain/waitingRoom.ts'
import { HIGH, LOW, NORMAL, RoomBench } from '../support/roomBench.ts'

/** A burst of 3,000 tokens, 950 to 980 a second. */
const TOKENS = { name: 'p', tokensPerMinute: 60_000 }
/** One a second, three at once. */
const REQUESTS = { name: 'p', requestsPerMinute: 60 }

const level = (bench: RoomBench, pool = 'p') => bench.pool(pool).tokens!.state.level

function refused(entry: Entry | undefined): Extract<Entry, { kind: 'refused' }> {
  assert.equal(entry?.kind, 'refused')
  return entry as Extract<Entry, { kind: 'refused' }>
}

test('a request that fits is granted at once when nobody waits', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  assert.deepEqual(bench.ask('a', { tokens: 100 }), { kind: 'granted', pool: 'p' })
})

test('asking again while it waits keeps the one place; once it has had its turn the answer is that turn', () => {
  const bench = new RoomBench([REQUESTS])
  assert.equal(bench.ask('a').kind, 'waiting')
  assert.equal(bench.ask('a').kind, 'waiting')
  assert.equal(bench.room.waitingCount, 1)
  bench.pass(2_000)
  assert.deepEqual(bench.ask('a'), { kind: 'granted', pool: 'p' })
  assert.deepEqual(bench.ask('a'), { kind: 'granted', pool: 'p' })
  assert.deepEqual([bench.order(), bench.room.reservedCount, bench.room.waitingCount], [['a'], 1, 0])
  const { level } = bench.pool('p').requests!.state
  assert.ok(level > 0.8, `paid once: ${level}`)
})

test('asking again finds a turn that came due in the meantime', () => {
  const bench = new RoomBench([REQUESTS])
  bench.ask('a')
  bench.nowMs = 1_500
  assert.deepEqual(bench.ask('a'), { kind: 'granted', pool: 'p' })
})

test('a request larger than a whole minute of every pool is refused, naming the quota', () => {
  const bench = new RoomBench([TOKENS, { name: 'q', tokensPerMinute: 10_000 }])
  const { code, busy } = refused(bench.ask('a', { tokens: 60_001 }))
  assert.equal(code, 'cannot-fit')
  const { message, retryAfterMs } = admissionRefusal(code, busy, 60_001, bench.room.mostTokens)
  assert.match(message, /60001.*tokens-per-minute.*60000/)
  assert.equal(retryAfterMs, undefined, 'no wait would cure it')
  assert.equal(bench.ask('b', { tokens: 60_000 }).kind, 'waiting')
})

test('a full waiting room refuses and says when to come back', () => {
  const bench = new RoomBench([REQUESTS], { maxWaiting: 2 })
  bench.ask('a', { client: 'x' })
  bench.ask('b', { client: 'y', rank: LOW })
  const { code, busy } = refused(bench.ask('c', { client: 'z', rank: HIGH }))
  assert.equal(code, 'queue-full')
  assert.ok(busy.retryAfterMs >= 1_000)
  assert.equal(busy.short, 'requests')
  assert.equal(bench.room.waitingCount, 2)
})

test("a client's own bound counts all its users and classes, and stops nobody else", () => {
  const bench = new RoomBench([REQUESTS], { maxWaitingPerClient: 2 })
  bench.ask('a', { client: 'x', user: 'u', rank: HIGH })
  bench.ask('b', { client: 'x', user: 'v', rank: LOW })
  assert.equal(refused(bench.ask('c', { client: 'x', user: 'w' })).code, 'client-queue-full')
  assert.equal(bench.ask('d', { client: 'y', user: 'w' }).kind, 'waiting')
  bench.cancel('a')
  assert.equal(bench.ask('e', { client: 'x', user: 'w' }).kind, 'waiting')
})

test('bounds are for those who wait: one who need not is let through', () => {
  const bench = new RoomBench([REQUESTS], { maxWaiting: 0, maxWaitingPerClient: 0 })
  bench.nowMs = 3_000
  assert.equal(bench.ask('a').kind, 'granted')
  assert.equal(bench.ask('b').kind, 'granted')
  assert.equal(refused(bench.ask('c')).code, 'queue-full')
})

test("one whose user's own line cannot be through by its deadline is refused at once, and only that user", () => {
  const bench = new RoomBench([REQUESTS])
  // Five before it at one a second, three of them at once: not before 2 s.
  for (let i = 0; i < 5; i++) bench.ask(`a${i}`)
  assert.equal(bench.ask('in time', { deadlineMs: 2_000 }).kind, 'waiting')
  const { code, busy } = refused(bench.ask('too late', { deadlineMs: 2_900 }))
  assert.equal(code, 'wait-too-long')
  assert.ok(busy.retryAfterMs >= 3_000, String(busy.retryAfterMs))
  assert.equal(bench.ask('another user', { user: 'v', deadlineMs: 1 }).kind, 'waiting')
  assert.equal(bench.ask('another class', { rank: HIGH, deadlineMs: 1 }).kind, 'waiting')
})

test('settlement gives back the difference once, and a second settlement changes nothing', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 1_000 })
  const before = level(bench)
  assert.equal(bench.settle('a', 400), true)
  assert.equal(level(bench), before + 600)
  assert.equal(bench.settle('a', 0), false)
  assert.equal(bench.room.settle('never', 0, 3_000), false)
  assert.equal(level(bench), before + 600)
})

test('a settlement above the reservation is taken from the bucket, into debt if need be', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 1_000 })
  bench.settle('a', 9_000)
  assert.equal(level(bench), 2_850 - 9_000)
})

test('a settlement is the end of one that waits no longer, not of one that still waits', () => {
  const bench = new RoomBench([REQUESTS])
  bench.ask('a')
  assert.equal(bench.settle('a', 0), false)
  bench.pass(1_500)
  assert.deepEqual(bench.order(), ['a'])
})

test('a throttled ticket returns to the head, and its spent reservation is not refunded', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('first', { tokens: 1_000 })
  bench.ask('second', { tokens: 1_900 })
  assert.equal(bench.requeue('first')!.kind, 'waiting')
  assert.equal(level(bench), 2_850 - 1_000)
  bench.pass(400)
  assert.deepEqual(bench.order(1), [], 'the pool rests after a throttle')
  bench.pass(20_000)
  assert.deepEqual(bench.order(1), ['first', 'second'])
})

test('a throttled ticket goes before others of its class and user, and after none it was before', () => {
  const bench = new RoomBench([REQUESTS])
  bench.nowMs = 3_000
  bench.ask('a', { user: 'u' })
  for (const id of ['b', 'c', 'd', 'e']) bench.ask(id, { user: id < 'd' ? 'u' : 'v' })
  const from = bench.turns.length
  bench.requeue('a')
  bench.pass(20_000)
  assert.equal(bench.order(from)[0], 'a')
})

test('a ticket throttled again and again is given up, and so is one past its deadline', () => {
  const bench = new RoomBench([TOKENS])
  bench.nowMs = 3_000
  bench.ask('a', { tokens: 10 })
  for (let i = 0; i < MAX_REQUEUES; i++) {
    assert.equal(bench.requeue('a')!.kind, 'waiting')
    bench.pass(10_000)
    assert.equal(bench.turns.length, i + 2)
  }
  assert.equal(refused(bench.requeue('a')).code, 'wait-too-long')
  bench.ask('b', { tokens: 10, deadlineMs: bench.nowMs + 60_000 })
  bench.pass(10_000)
  assert.ok(bench.granted('b'))
  bench.nowMs += 60_000
  refused(bench.requeue('b'))
  assert.equal(bench.requeue('b'), undefined, 'it has ended')
  assert.deepEqual([bench.room.reservedCount, bench.room.waitingCount], [0, 0])
})

test('a lone pool rests after a throttle, longer each time, at most four seconds', () => {
  const bench = new RoomBench([TOKENS])
  bench.pass(60_000)
  bench.ask('a', { tokens: 10 })
  const rests: number[] = []
  for (let i = 0; i < MAX_REQUEUES; i++) {
    const fromMs = bench.nowMs
    bench.requeue('a')
    assert.equal(bench.ask(`other ${i}`, { user: 'v', rank: HIGH }).kind, 'waiting', 'nobody passes meanwhile')
    bench.pass(10_000)
    rests.push(bench.granted('a')!.atMs - fromMs)
  }
  assert.deepEqual(rests, [500, 1_000, 2_000])
})

test('a throttled ticket stays away from that pool for 10 s while another can take it', () => {
  const bench = new RoomBench([TOKENS, { ...TOKENS, name: 'q' }])
  bench.pass(10_000)
  bench.tick()
  bench.gate('p', 0)
  bench.ask('drink', { tokens: 100 })
  bench.settle('drink', 100_000)
  bench.gate('p', -1)
  bench.ask('a', { tokens: 100 })
  assert.equal(bench.granted('a')!.pool, 'p')
  const fromMs = bench.nowMs
  bench.requeue('a')
  bench.ask('b', { user: 'v', tokens: 100 })
  assert.equal(bench.granted('b')?.pool, 'p', 'the pool itself is open to others')
  bench.pass(20_000)
  const { pool, atMs } = bench.granted('a')!
  assert.equal(pool, 'p')
  assert.ok(atMs - fromMs >= 10_000 && atMs - fromMs <= 11_000, `${atMs - fromMs} ms`)
})

test('a ticket that every pool threw back stays away from the last alone', () => {
  const bench = new RoomBench([TOKENS, { ...TOKENS, name: 'q' }])
  bench.pass(10_000)
  bench.tick()
  bench.ask('a', { tokens: 100 })
  const pools = [bench.granted('a')!.pool]
  for (let i = 0; i < 2; i++) {
    bench.requeue('a', 0)
    pools.push(bench.granted('a')!.pool)
  }
  assert.deepEqual(pools, pools[0] === 'p' ? ['p', 'q', 'p'] : ['q', 'p', 'q'])
})

test('a throttled ticket goes to the other pool at once when that has water', () => {
  const bench = new RoomBench([TOKENS, { ...TOKENS, name: 'q' }])
  bench.nowMs = 10_000
  bench.ask('a', { tokens: 100 })
  const first = bench.granted('a')!.pool
  assert.deepEqual(bench.requeue('a'), { kind: 'granted', pool: first === 'p' ? 'q' : 'p' })
})

test('who leaves gives way: the next in line goes at once when it fits', () => {
  const bench = new RoomBench([TOKENS])
  bench.ask('head', { user: 'a', tokens: 1_900 })
  bench.ask('next', { user: 'b', tokens: 100 })
  bench.pass(1_000)
  assert.deepEqual(bench.order(), [])
  assert.equal(bench.cancel('head'), true)
  assert.deepEqual(bench.order(), ['next'])
  assert.equal(bench.cancel('head'), false)
  assert.equal(bench.cancel('next'), false, 'its turn has come')
})

test('the room asks to be looked at when the head can go, within a second, and not while nobody waits', () => {
  const bench = new RoomBench([REQUESTS])
  assert.equal(bench.room.napMs, undefined)
  bench.ask('a', { rank: NORMAL })
  assert.equal(bench.room.napMs, 1_000)
  bench.pass(1_000)
  assert.ok(bench.room.napMs! < 100, String(bench.room.napMs))
  bench.pass(100)
  assert.deepEqual(bench.order(), ['a'])
  assert.equal(bench.room.napMs, undefined)
})

test('at most 32 turns are handed out by one call; the rest is due at once', () => {
  const bench = new RoomBench([{ name: 'p', requestsPerMinute: 6_000 }])
  for (let i = 0; i < 100; i++) bench.ask(String(i))
  bench.nowMs = 3_000
  bench.tick()
  assert.deepEqual([bench.turns.length, bench.room.napMs], [32, 0])
  for (let i = 0; i < 3; i++) bench.tick()
  assert.equal(bench.turns.length, 100)
})
