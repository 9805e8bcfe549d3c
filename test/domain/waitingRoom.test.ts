import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_REQUEUES, type Ticket, WaitingRoom } from '../../src/domain/waitingRoom.ts'

const FAR_MS = 1e12

function ticket(id: string, tokens: number, deadlineMs = FAR_MS): Ticket {
  return { id, tokens, deadlineMs }
}

function room(quota: { requestsPerMinute?: number; tokensPerMinute?: number }, maxWaiting = 100) {
  return new WaitingRoom({ pools: [{ name: 'only', ...quota }], burstShare: 0.05, maxWaiting }, 0)
}

function tokenLevel(one: WaitingRoom): number {
  return one.pools[0]!.tokens!.state.level
}

test('a request that fits is granted at once when nobody waits', () => {
  const one = room({ tokensPerMinute: 60_000 })
  assert.deepEqual(one.enter(ticket('a', 100), 3_000), {
    kind: 'granted',
    grant: { ticketId: 'a', pool: 'only' },
  })
})

test('nobody overtakes the head of the line, not even a small request that would fit', () => {
  const one = room({ tokensPerMinute: 60_000 })
  assert.equal(one.enter(ticket('large', 2_000), 1_000).kind, 'waiting')
  assert.equal(one.enter(ticket('small', 1), 1_000).kind, 'waiting')
  assert.deepEqual(one.pump(1_500), [])
  assert.deepEqual(
    one.pump(10_000).map(grant => grant.ticketId),
    ['large', 'small'],
  )
})

test('a request larger than the burst goes when the bucket is full and leaves a debt', () => {
  const one = room({ tokensPerMinute: 60_000 })
  assert.equal(one.enter(ticket('huge', 50_000), 1_000).kind, 'waiting')
  assert.equal(one.pump(3_100).length, 0)
  assert.equal(one.pump(3_200).length, 1)
  assert.ok(tokenLevel(one) < -46_000)
})

test('a request larger than a whole minute of every pool is refused, naming the quota', () => {
  const entry = room({ tokensPerMinute: 60_000 }).enter(ticket('a', 60_001), 0)
  assert.equal(entry.kind, 'refused')
  assert.equal(entry.kind === 'refused' && entry.refusal.code, 'cannot-fit')
  assert.match(entry.kind === 'refused' ? entry.refusal.message : '', /tokens-per-minute.*60000/)
})

test('a full waiting room refuses and says when to come back', () => {
  const one = room({ requestsPerMinute: 60 }, 1)
  assert.equal(one.enter(ticket('a', 1), 0).kind, 'waiting')
  const entry = one.enter(ticket('b', 1), 0)
  assert.equal(entry.kind === 'refused' && entry.refusal.code, 'queue-full')
  assert.ok(entry.kind === 'refused' && entry.refusal.retryAfterMs! >= 1_000)
})

test('settlement gives back the difference once, and a second settlement changes nothing', () => {
  const one = room({ tokensPerMinute: 60_000 })
  one.enter(ticket('a', 1_000), 3_000)
  const before = tokenLevel(one)
  assert.equal(one.settle('a', 400, 3_000), true)
  assert.equal(tokenLevel(one), before + 600)
  assert.equal(one.settle('a', 0, 3_000), false)
  assert.equal(tokenLevel(one), before + 600)
})

test('a settlement above the reservation is taken from the bucket, into debt if need be', () => {
  const one = room({ tokensPerMinute: 60_000 })
  one.enter(ticket('a', 1_000), 3_000)
  one.settle('a', 9_000, 3_000)
  assert.equal(tokenLevel(one), 2_850 - 9_000)
})

test('a throttled ticket returns to the head, keeps its deadline, and its spent reservation is not refunded', () => {
  const one = room({ tokensPerMinute: 60_000 })
  one.enter(ticket('first', 1_000), 3_000)
  one.enter(ticket('second', 2_500), 3_000)
  assert.equal(one.requeue('first', 3_000), true)
  assert.equal(tokenLevel(one), 2_850 - 1_000)
  assert.deepEqual(one.pump(3_400), [], 'the pool rests after a throttle')
  const order = [...one.pump(20_000), ...one.pump(30_000)].map(grant => grant.ticketId)
  assert.deepEqual(order, ['first', 'second'])
})

test('a ticket throttled again and again is given up, and so is one past its deadline', () => {
  const one = room({ tokensPerMinute: 60_000 })
  one.enter(ticket('a', 10), 3_000)
  let nowMs = 3_000
  for (let i = 0; i < MAX_REQUEUES; i++) {
    assert.equal(one.requeue('a', nowMs), true)
    nowMs += 10_000
    assert.equal(one.pump(nowMs).length, 1)
  }
  assert.equal(one.requeue('a', nowMs), false)
  one.enter(ticket('b', 10, nowMs + 60_000), nowMs + 50_000)
  assert.equal(one.requeue('b', nowMs + 60_000), false)
  assert.equal(one.reservedCount, 0)
})

test('of several pools that fit, the one with the most water is picked', () => {
  const pools = [
    { name: 'small', tokensPerMinute: 10_000 },
    { name: 'large', tokensPerMinute: 100_000 },
  ]
  const one = new WaitingRoom({ pools, burstShare: 0.05, maxWaiting: 10 }, 0)
  const entry = one.enter(ticket('a', 100), 10_000)
  assert.equal(entry.kind === 'granted' && entry.grant.pool, 'large')
})

test('every ticket ends exactly once and the bound on admission holds in every interval', () => {
  const event = fc.record({ gapMs: fc.integer({ min: 0, max: 5_000 }), tokens: fc.integer({ min: 1, max: 900 }) })
  fc.assert(
    fc.property(fc.array(event, { minLength: 20, maxLength: 200 }), events => {
      const one = room({ tokensPerMinute: 20_000, requestsPerMinute: 60 }, 1_000)
      const grants: { atMs: number; tokens: number; id: string }[] = []
      const tokensOf = new Map<string, number>()
      let nowMs = 0
      const pump = () => {
        for (const grant of one.pump(nowMs)) {
          grants.push({ atMs: nowMs, tokens: tokensOf.get(grant.ticketId)!, id: grant.ticketId })
        }
      }
      events.forEach(({ gapMs, tokens }, i) => {
        nowMs += gapMs
        pump()
        tokensOf.set(String(i), tokens)
        const entry = one.enter(ticket(String(i), tokens), nowMs)
        if (entry.kind === 'granted') grants.push({ atMs: nowMs, tokens, id: String(i) })
      })
      while (one.waitingCount > 0) {
        nowMs += Math.ceil(one.msUntilNextGrant(nowMs)!) + 1
        pump()
      }
      assert.equal(new Set(grants.map(grant => grant.id)).size, events.length)
      for (let from = 0; from < grants.length; from++) {
        let tokens = 0
        for (let to = from; to < grants.length; to++) {
          tokens += grants[to]!.tokens
          const minutes = (grants[to]!.atMs - grants[from]!.atMs) / 60_000
          assert.ok(tokens <= 1_000 + 19_000 * minutes + 1e-6, 'admitted more than burst + rate × time')
        }
      }
    }),
  )
})
