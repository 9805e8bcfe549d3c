import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RoomSettings } from '../../src/domain/room.ts'
import type { Ask, Outcome } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { RoomKeeper } from '../../src/memory/roomKeeper.ts'
import { VirtualClock } from '../support/virtualClock.ts'

/** Knows how many timers are set and have neither run nor been cancelled. */
class CountingClock extends VirtualClock {
  pending = 0

  override after(delayMs: number, run: () => void): () => void {
    let over = false
    const end = () => {
      if (!over) this.pending -= 1
      over = true
    }
    this.pending += 1
    const cancel = super.after(delayMs, () => {
      end()
      run()
    })
    return () => {
      end()
      cancel()
    }
  }
}

/** One a second, three at once. */
const REQUESTS = { name: 'p', requestsPerMinute: 60 }

class Bench {
  readonly clock = new CountingClock()
  readonly keeper: RoomKeeper
  readonly decided: string[] = []

  constructor(pool: RoomSettings['pools'][number] = REQUESTS, settings: Partial<RoomSettings> = {}) {
    const rest = { burstShare: 0.05, maxWaiting: 1_000, maxWaitingPerClient: 1_000, ...settings }
    this.keeper = new RoomKeeper({ pools: [pool], ...rest }, this.clock)
  }

  ask(ticketId: string, waitMs = 1e9, tokens = 1): Ask {
    const flow = { priority: 'normal' as const, client: 'c', user: 'u' }
    return { ticketId, model: 'm', flow, weight: 1, tokens, deadlineMs: this.clock.nowMs() + waitMs }
  }

  acquire(ask: Ask, presence = new Presence()): Presence {
    this.#note(ask, this.keeper.acquire(ask, presence))
    return presence
  }

  requeue(ask: Ask, presence = new Presence()): void {
    this.#note(ask, this.keeper.requeue(ask, presence))
  }

  #note({ ticketId }: Ask, outcome: Promise<Outcome>): void {
    outcome.then(one => {
      const why = one.kind === 'refused' ? ` ${one.refusal.code}` : ''
      this.decided.push(`${ticketId} ${one.kind}${why}`)
    })
  }
}

test('one timer wakes the whole room, however many wait; beside it each has only its deadline', async () => {
  const bench = new Bench()
  for (let i = 0; i < 50; i++) bench.acquire(bench.ask(String(i)))
  assert.equal(bench.clock.pending, 51)
  await bench.clock.advance(10_500)
  assert.ok(bench.decided.length >= 9, bench.decided.join())
  assert.equal(bench.clock.pending, bench.keeper.waiting + 1)
})

test('when nobody waits no timer is left', async () => {
  const bench = new Bench()
  for (const id of ['a', 'b']) bench.acquire(bench.ask(id))
  await bench.clock.advance(5_000)
  assert.deepEqual([bench.decided, bench.clock.pending], [['a granted', 'b granted'], 0])
  const presence = bench.acquire(bench.ask('c', 1e9))
  for (const id of ['d', 'e', 'f']) bench.acquire(bench.ask(id, 10))
  presence.leave()
  await bench.clock.advance(5_000)
  assert.equal(bench.clock.pending, 0)
})

test('at its deadline a request is refused, never later, and its place is free', async () => {
  const bench = new Bench()
  bench.acquire(bench.ask('a', 300))
  bench.acquire(bench.ask('b', 200))
  await bench.clock.advance(199)
  assert.deepEqual(bench.decided, [])
  await bench.clock.advance(1)
  assert.deepEqual(bench.decided, ['b refused wait-timeout'])
  await bench.clock.advance(100)
  assert.deepEqual(bench.decided, ['b refused wait-timeout', 'a refused wait-timeout'])
  assert.deepEqual([bench.keeper.waiting, bench.keeper.room.waitingCount], [0, 0])
})

test('a turn that is due at the moment of the deadline is not lost: granted and held, or refused and free', async () => {
  const bench = new Bench()
  for (let waitMs = 995; waitMs <= 1_060; waitMs++) {
    const one = new Bench()
    one.acquire(one.ask('a', waitMs))
    await one.clock.advance(2_000)
    const isGranted = one.decided[0] === 'a granted'
    assert.deepEqual(one.decided, [isGranted ? 'a granted' : 'a refused wait-timeout'])
    assert.equal(one.keeper.room.reservedCount, isGranted ? 1 : 0, `deadline ${waitMs}`)
  }
  assert.equal(bench.keeper.room.reservedCount, 0)
})

test('a client that leaves frees its place at once, and the next one that fits goes', async () => {
  const bench = new Bench({ name: 'p', tokensPerMinute: 60_000 })
  await bench.clock.advance(1_000)
  const presence = bench.acquire(bench.ask('big', 1e9, 1_900))
  bench.acquire(bench.ask('small', 1e9, 10))
  presence.leave()
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['big left', 'small granted'])
})

test('one who has left before asking takes neither turn nor place', async () => {
  const bench = new Bench()
  await bench.clock.advance(5_000)
  const gone = new Presence()
  gone.leave()
  bench.acquire(bench.ask('a'), gone)
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['a left'])
  assert.deepEqual([bench.keeper.room.reservedCount, bench.keeper.waiting], [0, 0])
})

test('when all are moved each is told so in order, none is granted beside it, and nothing is left in line', async () => {
  const bench = new Bench()
  const asks = ['a', 'b', 'c', 'd'].map(id => bench.ask(id, 60_000))
  for (const ask of asks) bench.acquire(ask)
  await bench.clock.advance(1_100)
  assert.deepEqual(bench.decided, ['a granted'])
  bench.keeper.moveAll()
  await bench.clock.advance(120_000)
  assert.deepEqual(bench.decided, ['a granted', 'b moved', 'c moved', 'd moved'])
  assert.deepEqual([bench.keeper.waiting, bench.keeper.room.waitingCount, bench.clock.pending], [0, 0, 0])
  assert.equal(bench.keeper.room.reservedCount, 1, 'who runs is not moved')
  assert.equal(bench.keeper.settle('a', 1), true)
})

test('one whose turn comes because the others are moved away goes, and is not moved as well', async () => {
  const bench = new Bench({ name: 'p', tokensPerMinute: 60_000 })
  await bench.clock.advance(1_000)
  bench.acquire(bench.ask('big', 1e9, 1_900))
  bench.acquire(bench.ask('small', 1e9, 10))
  bench.keeper.moveAll()
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided.toSorted(), ['big moved', 'small granted'])
  assert.deepEqual([bench.keeper.room.reservedCount, bench.keeper.waiting], [1, 0])
})

test('after a move the line works as before', async () => {
  const bench = new Bench()
  bench.acquire(bench.ask('a'))
  bench.keeper.moveAll()
  bench.acquire(bench.ask('a'))
  await bench.clock.advance(1_100)
  assert.deepEqual(bench.decided, ['a moved', 'a granted'])
})

test('a throttled ticket whose reservation is not here asks anew, as one that fled to this room does', async () => {
  const bench = new Bench()
  await bench.clock.advance(5_000)
  bench.requeue(bench.ask('from elsewhere'))
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['from elsewhere granted'])
})

test('a throttled ticket whose client has left meanwhile ends, and holds nothing', async () => {
  const bench = new Bench({ name: 'p', requestsPerMinute: 600 })
  await bench.clock.advance(5_000)
  const ask = bench.ask('a')
  const presence = bench.acquire(ask)
  presence.leave()
  bench.requeue(ask, presence)
  await bench.clock.advance(20_000)
  assert.deepEqual(bench.decided, ['a granted', 'a left'])
  assert.deepEqual([bench.keeper.room.reservedCount, bench.keeper.room.waitingCount], [0, 0])
})

for (const [what, change] of [
  ['a settlement that gives back', (bench: Bench) => void bench.keeper.settle('drink', 0)],
  ['a larger quota', (bench: Bench) => bench.keeper.configure(settings(6e6))],
  ['a faster pace', (bench: Bench) => bench.keeper.setPace('p', { tokensPerMinute: 6e6 })],
] as const) {
  test(`${what} wakes who can go sooner than the timer had it`, async () => {
    const bench = new Bench({ name: 'p', tokensPerMinute: 6_000 })
    await bench.clock.advance(60_000)
    bench.acquire(bench.ask('drink', 1e9, 190))
    bench.acquire(bench.ask('drop', 1e9, 110))
    bench.acquire(bench.ask('waits', 1e9, 100))
    await bench.clock.advance(0)
    assert.deepEqual(bench.decided, ['drink granted', 'drop granted'])
    change(bench)
    await bench.clock.advance(10)
    assert.deepEqual(bench.decided, ['drink granted', 'drop granted', 'waits granted'])
  })
}

function settings(tokensPerMinute: number): RoomSettings {
  const bounds = { burstShare: 0.05, maxWaiting: 1_000, maxWaitingPerClient: 1_000 }
  return { pools: [{ name: 'p', tokensPerMinute }], ...bounds }
}

test('after a drain nobody goes on what was saved before', async () => {
  const bench = new Bench()
  await bench.clock.advance(60_000)
  bench.keeper.drain()
  bench.acquire(bench.ask('a'))
  await bench.clock.advance(900)
  assert.deepEqual(bench.decided, [])
  await bench.clock.advance(200)
  assert.deepEqual(bench.decided, ['a granted'])
})

test('the status tells who waits and what the pools hold, at this moment', async () => {
  const bench = new Bench({ name: 'p', requestsPerMinute: 600 })
  await bench.clock.advance(5_000)
  for (let i = 0; i < 32; i++) bench.acquire(bench.ask(String(i)))
  const status = await bench.keeper.status()
  assert.deepEqual([status.waiting, status.inFlight], [2, 30])
  assert.deepEqual(status.classes[1]!.flows, [{ client: 'c', user: 'u', waiting: 2 }])
  assert.equal(status.pools[0]!.requests!.level, 0)
  await bench.clock.advance(60_000)
  assert.equal((await bench.keeper.status()).pools[0]!.requests!.level, 30)
})
