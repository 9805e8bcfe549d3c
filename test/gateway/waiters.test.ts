import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Ask, Outcome } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { type Reason, ticketOf, Waiters } from '../../src/gateway/waiters.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

class Bench {
  readonly clock = new VirtualClock()
  readonly waiters = new Waiters(this.clock)
  readonly withdrawn: string[] = []
  readonly outcomes: string[] = []

  ask(ticketId: string, waitMs = 1e9): Ask {
    const flow = { priority: 'low' as const, client: 'c', user: 'u' }
    return { ticketId, model: 'm', flow, weight: 3, tokens: 7, deadlineMs: this.clock.nowMs() + waitMs }
  }

  /** `answer`: what whoever keeps the line decides when it is told of a withdrawal; nothing: it says so later. */
  wait(ticketId: string, waitMs = 1e9, presence = new Presence(), answer?: Outcome): Presence {
    const withdraw = (reason: Reason) => {
      this.withdrawn.push(`${ticketId} ${reason}`)
      if (answer) this.waiters.decide(ticketId, answer)
    }
    const decided = this.waiters.wait(this.ask(ticketId, waitMs), presence, withdraw)
    decided.then(outcome => this.outcomes.push(`${ticketId} ${outcome.kind}`))
    return presence
  }
}

const GRANTED: Outcome = { kind: 'granted', pool: 'p' }

test('a decision ends the wait, once: a second one finds nobody', async () => {
  const bench = new Bench()
  bench.wait('a')
  assert.deepEqual([bench.waiters.size, bench.waiters.has('a')], [1, true])
  assert.equal(bench.waiters.decide('a', GRANTED)?.ticketId, 'a')
  assert.equal(bench.waiters.decide('a', { kind: 'left' }), undefined)
  assert.equal(bench.waiters.decide('never', GRANTED), undefined)
  await bench.clock.advance(0)
  assert.deepEqual(bench.outcomes, ['a granted'])
  assert.deepEqual([bench.waiters.size, bench.waiters.has('a')], [0, false])
})

test('at its deadline a wait asks to be withdrawn, and goes on until that is decided: a grant may be on its way', async () => {
  const bench = new Bench()
  bench.wait('a', 500)
  await bench.clock.advance(499)
  assert.deepEqual(bench.withdrawn, [])
  await bench.clock.advance(1)
  assert.deepEqual([bench.withdrawn, bench.outcomes], [['a late'], []])
  bench.waiters.decide('a', GRANTED)
  await bench.clock.advance(0)
  assert.deepEqual(bench.outcomes, ['a granted'])
})

test('a deadline already past withdraws at the next moment, not inside the call', async () => {
  const bench = new Bench()
  bench.wait('a', -5)
  assert.deepEqual(bench.withdrawn, [])
  await bench.clock.advance(0)
  assert.deepEqual(bench.withdrawn, ['a late'])
})

test('a client that leaves withdraws at once, and one that had left before is withdrawn as it begins', async () => {
  const bench = new Bench()
  const presence = bench.wait('a', 1e9, new Presence(), { kind: 'left' })
  presence.leave()
  assert.deepEqual(bench.withdrawn, ['a gone'])
  const gone = new Presence()
  gone.leave()
  bench.wait('b', 1e9, gone, { kind: 'left' })
  await bench.clock.advance(0)
  assert.deepEqual(bench.withdrawn, ['a gone', 'b gone'])
  assert.deepEqual([bench.outcomes, bench.waiters.size], [['a left', 'b left'], 0])
})

test('one who is late and then leaves, or leaves and then is late, is withdrawn once', async () => {
  const bench = new Bench()
  const late = bench.wait('late', 100)
  await bench.clock.advance(100)
  late.leave()
  const gone = bench.wait('gone', 100)
  gone.leave()
  await bench.clock.advance(200)
  assert.deepEqual(bench.withdrawn, ['late late', 'gone gone'])
})

test('once decided, neither the deadline nor the client who leaves is heard of', async () => {
  const bench = new Bench()
  const presence = bench.wait('a', 100)
  bench.waiters.decide('a', GRANTED)
  presence.leave()
  await bench.clock.advance(1_000)
  assert.deepEqual(bench.withdrawn, [])
})

test('everybody who is sent elsewhere is told so, in the order in which they began to wait', async () => {
  const bench = new Bench()
  for (const id of ['b', 'a', 'c']) bench.wait(id, 100)
  bench.waiters.decide('a', GRANTED)
  assert.deepEqual(
    bench.waiters.asks().map(ask => ask.ticketId),
    ['b', 'c'],
  )
  bench.waiters.moveAll()
  assert.equal(bench.waiters.size, 0)
  await bench.clock.advance(1_000)
  assert.deepEqual(bench.outcomes, ['a granted', 'b moved', 'c moved'])
  assert.deepEqual(bench.withdrawn, [], 'their deadlines are not this line’s any more')
})

test('who is sent elsewhere may wait here again with the same ticket', async () => {
  const bench = new Bench()
  bench.wait('a', 100)
  bench.waiters.moveAll()
  bench.wait('a', 300)
  await bench.clock.advance(200)
  assert.deepEqual(bench.withdrawn, [], 'the first deadline is gone')
  await bench.clock.advance(100)
  assert.deepEqual(bench.withdrawn, ['a late'])
})

test('the engine knows an ask by the rank of its class, high first', () => {
  const bench = new Bench()
  const ask = bench.ask('a', 50)
  assert.deepEqual(ticketOf(ask, 'g'), {
    id: 'a',
    rank: 2,
    client: 'c',
    weight: 3,
    user: 'u',
    tokens: 7,
    deadlineMs: ask.deadlineMs,
    gateway: 'g',
  })
  assert.equal(ticketOf({ ...ask, flow: { ...ask.flow, priority: 'high' } }, 'g').rank, 0)
})

test('whatever comes first, decision, deadline or leaving, each wait ends once and is withdrawn at most once', async t => {
  const wait = fc.record({
    waitMs: fc.nat(100),
    leavesMs: fc.option(fc.nat(100)),
    decidedMs: fc.option(fc.nat(100)),
    answersMs: fc.nat(50),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(wait, { minLength: 1, maxLength: 20 }),
      fc.option(fc.nat(100)),
      async (waits, movedMs) => {
        const { clock, waiters } = new Bench()
        const ends = waits.map(() => 0)
        const withdrawals = waits.map(() => 0)
        for (const [i, { waitMs, leavesMs, decidedMs, answersMs }] of waits.entries()) {
          const presence = new Presence()
          const ask = { ...new Bench().ask(String(i)), deadlineMs: clock.nowMs() + waitMs }
          const withdraw = () => {
            withdrawals[i]! += 1
            clock.after(answersMs, () => void waiters.decide(String(i), { kind: 'left' }))
          }
          waiters.wait(ask, presence, withdraw).then(() => {
            ends[i]! += 1
          })
          if (leavesMs !== null) clock.after(leavesMs, () => presence.leave())
          if (decidedMs !== null) clock.after(decidedMs, () => void waiters.decide(String(i), GRANTED))
        }
        if (movedMs !== null) clock.after(movedMs, () => waiters.moveAll())
        await clock.advance(1_000)
        assert.deepEqual(ends, new Array(waits.length).fill(1))
        assert.ok(withdrawals.every(count => count <= 1))
        assert.equal(waiters.size, 0)
      },
    ),
    seeded(t, 200),
  )
})
