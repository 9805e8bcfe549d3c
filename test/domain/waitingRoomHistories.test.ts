// Random histories of a room, with several pools, classes and clients: what no history may break.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bucketShape } from '../../src/domain/bucket.ts'
import type { RoomSettings } from '../../src/domain/room.ts'
import { HIGH, LOW, NORMAL, RoomBench, type Turn } from '../support/roomBench.ts'
import { seeded } from '../support/seeds.ts'

const BURST = 0.05
const POOLS = [
  { name: 'p', requestsPerMinute: 120, tokensPerMinute: 60_000 },
  { name: 'q', requestsPerMinute: 30, tokensPerMinute: 90_000 },
  { name: 'r', tokensPerMinute: 20_000 },
]
const poolSets = fc.constantFrom(POOLS, POOLS.slice(0, 2), POOLS.slice(0, 1), POOLS.slice(2))

interface Event {
  gapMs: number
  rank: number
  client: string
  user: string
  tokens: number
  waitMs: number
  takesMs: number
  charged: number
  fate: 'settles' | 'throttled' | 'leaves'
}

const event: fc.Arbitrary<Event> = fc.record({
  gapMs: fc.oneof(fc.nat(50), fc.nat(3_000)),
  rank: fc.constantFrom(HIGH, NORMAL, NORMAL, LOW),
  client: fc.constantFrom('a', 'b', 'c'),
  user: fc.constantFrom('u', 'v'),
  tokens: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 1_500 }) }, fc.integer({ min: 1, max: 60_000 })),
  waitMs: fc.oneof(fc.nat(10_000), fc.constant(1e12)),
  takesMs: fc.nat(5_000),
  charged: fc.constantFrom(0, 0.3, 1, 1, 1.5),
  fate: fc.constantFrom('settles', 'settles', 'settles', 'throttled', 'leaves'),
})
const events = fc.array(event, { minLength: 5, maxLength: 80 })

/** A refund, or below 0 a charge beyond the reservation. */
interface Refund {
  pool: string
  tokens: number
  atMs: number
}

class History {
  readonly bench: RoomBench
  readonly refunds: Refund[] = []
  /** Granted, refused, timed out or left: by ticket, how often. */
  readonly ended = new Map<string, number>()
  readonly #events: Event[]
  #due: { atMs: number; run: () => void }[] = []

  constructor(pools: RoomSettings['pools'], events: Event[]) {
    this.bench = new RoomBench(pools)
    this.#events = events
  }

  run(): void {
    const { bench } = this
    for (const [i, event] of this.#events.entries()) {
      this.#pass(event.gapMs)
      const { rank, client, user, tokens, waitMs } = event
      const deadlineMs = bench.nowMs + waitMs
      const entry = bench.ask(String(i), { rank, client, user, tokens, deadlineMs })
      if (entry.kind === 'refused') this.#end(String(i))
      else if (waitMs < 1e12) this.#later(waitMs, () => bench.cancel(String(i)) && this.#end(String(i)))
      if (event.fate === 'leaves') this.#later(event.takesMs, () => bench.cancel(String(i)) && this.#end(String(i)))
      this.#follow()
    }
    for (let looks = 0; (bench.room.waitingCount > 0 || bench.room.reservedCount > 0) && looks < 5_000; looks++)
      this.#pass(1_000)
  }

  #pass(ms: number): void {
    const untilMs = this.bench.nowMs + ms
    for (;;) {
      this.#due.sort((a, b) => a.atMs - b.atMs)
      const next = this.#due[0]
      if (!next || next.atMs > untilMs) break
      this.#due.shift()
      this.bench.pass(next.atMs - this.bench.nowMs, () => this.#follow())
      next.run()
      this.#follow()
    }
    this.bench.pass(untilMs - this.bench.nowMs, () => this.#follow())
  }

  readonly #seen = new Set<Turn>()

  /** Every turn has its end: settled, or thrown back by the upstream. */
  #follow(): void {
    const { bench } = this
    for (const turn of bench.running.values()) {
      if (this.#seen.has(turn)) continue
      this.#seen.add(turn)
      const { takesMs, fate, charged } = this.#events[Number(turn.id)]!
      this.#later(takesMs, () => {
        if (fate === 'throttled') {
          const entry = bench.requeue(turn.id)
          if (entry?.kind === 'refused') this.#end(turn.id)
          return
        }
        assert.equal(bench.settle(turn.id, turn.tokens * charged), true, 'settled')
        assert.equal(bench.settle(turn.id, 0), false, 'settled twice')
        this.#end(turn.id)
        this.refunds.push({ pool: turn.pool, tokens: turn.tokens * (1 - charged), atMs: bench.nowMs })
      })
    }
  }

  #later(ms: number, run: () => void): void {
    this.#due.push({ atMs: this.bench.nowMs + ms, run })
  }

  #end(id: string): void {
    this.ended.set(id, (this.ended.get(id) ?? 0) + 1)
  }
}

test('every ticket ends exactly once, in a bounded time, and nothing is left behind', t => {
  fc.assert(
    fc.property(poolSets, events, (pools, list) => {
      const history = new History(pools, list)
      history.run()
      const { room } = history.bench
      assert.deepEqual([room.waitingCount, room.reservedCount], [0, 0], 'nobody starves')
      const ends = list.map((_, i) => history.ended.get(String(i)))
      assert.deepEqual(ends, new Array(list.length).fill(1))
      for (const queue of room.queues)
        assert.deepEqual([queue.waiting, queue.waitingCostS, queue.waitingWeight], [0, 0, 0])
      assert.equal(room.napMs, undefined)
    }),
    seeded(t, 150),
  )
})

// What a purse holds and what a bucket lends may come together: the largest request twice. purse.test.ts has the closer bound.
test('in every interval a pool admits at most burst + rate × time + refunds + a purse + a loan', t => {
  fc.assert(
    fc.property(poolSets, events, (pools, list) => {
      const history = new History(pools, list)
      history.run()
      for (const pool of pools) assertConserved(pool, history)
    }),
    seeded(t, 150),
  )
})

test('small requests alone never exceed burst + rate × time + refunds, to the last token', t => {
  // Smaller than every burst and than two seconds of any quota: nothing is lent, nothing saved up.
  const small = event.map(one => ({ ...one, tokens: 1 + (one.tokens % 600) }))
  fc.assert(
    fc.property(poolSets, fc.array(small, { minLength: 20, maxLength: 120 }), (pools, list) => {
      const history = new History(pools, list)
      history.run()
      for (const pool of pools) assertConserved(pool, history, 0)
    }),
    seeded(t, 150),
  )
})

function assertConserved(pool: (typeof POOLS)[number], { bench, refunds }: History, beyond?: number): void {
  const turns = bench.turns.filter(turn => turn.pool === pool.name)
  const requests = pool.requestsPerMinute === undefined ? undefined : bucketShape(pool.requestsPerMinute, BURST)
  const tokens = bucketShape(pool.tokensPerMinute, BURST)
  const given = refunds.filter(refund => refund.pool === pool.name && refund.tokens > 0)
  const loan = Math.max(0, ...turns.map(turn => turn.tokens))
  const purse = Math.max(pool.tokensPerMinute / 2, loan)
  for (let from = 0; from < turns.length; from++) {
    let sum = 0
    for (let to = from; to < turns.length; to++) {
      sum += turns[to]!.tokens
      const [fromMs, toMs] = [turns[from]!.atMs, turns[to]!.atMs]
      const ms = toMs - fromMs
      const back = given.reduce((all, one) => (one.atMs >= fromMs && one.atMs <= toMs ? all + one.tokens : all), 0)
      const most = tokens.burst + tokens.fastRate * ms + back + (beyond ?? purse + loan)
      assert.ok(
        sum <= most + (beyond === undefined ? 1 : 1e-3),
        `${pool.name}: ${sum} tokens in ${ms} ms, at most ${most}`,
      )
      if (!requests) continue
      const mostRequests = requests.burst + requests.fastRate * ms
      assert.ok(to - from + 1 <= mostRequests + 1e-3, `${pool.name}: ${to - from + 1} requests in ${ms} ms`)
    }
  }
}

test('while three classes, three clients and large requests all wait for ever, nobody waits for ever', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 200, max: 900 }), (depth, tokens) => {
      const bench = new RoomBench(POOLS.slice(0, 2))
      let count = 0
      const asked = new Map<string, number>()
      const fill = () => {
        for (const rank of [HIGH, NORMAL, LOW])
          for (const client of ['a', 'b', 'big']) {
            const waiting = bench.room.queues[rank]!.clients.get(client)?.waiting ?? 0
            for (let n = waiting; n < depth; n++) {
              const id = `${rank} ${client} ${count++}`
              asked.set(id, bench.nowMs)
              bench.ask(id, { rank, client, tokens: client === 'big' ? 10_000 : tokens })
            }
          }
      }
      fill()
      bench.pass(1_500_000, fill)
      const waits = new Map<string, number>()
      for (const [id, atMs] of asked) {
        const flow = id.split(' ').slice(0, 2).join(' ')
        const waitMs = (bench.granted(id)?.atMs ?? bench.nowMs) - atMs
        waits.set(flow, Math.max(waits.get(flow) ?? 0, waitMs))
      }
      // Of low a third of 5 % each: 10,000 of 150,000 tokens a minute take some 4 s, so a turn comes every 240 s.
      for (const [flow, waitMs] of waits) assert.ok(waitMs <= 300_000 * depth + 120_000, `${flow} waited ${waitMs} ms`)
    }),
    seeded(t, 8),
  )
})
