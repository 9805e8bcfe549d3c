import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ModelSettings, PRIORITIES } from '../../src/domain/model.ts'
import type { Ask, Decision, Ledger, ModelStatus } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { createMemoryLedger } from '../../src/memory/ledger.ts'
import { PLAIN } from '../support/models.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const FLOW = { priority: 'normal', client: 'open', user: 'ann' } as const

function model(quota: { requestsPerMinute?: number; tokensPerMinute?: number }): ModelSettings {
  const pools = [{ name: 'only', region: 'us-east-1', ...quota }]
  return { name: 'm', modelIds: ['*'], outputBurndown: 1, maxOutputTokens: 10, bytesPerToken: 3, pools, ...PLAIN }
}

class Bench {
  readonly clock = new VirtualClock()
  readonly ledger: Ledger
  readonly decided: string[] = []
  readonly decisions = new Map<string, Decision>()
  readonly #aborts = new Map<string, Presence>()

  constructor(quota: { requestsPerMinute?: number; tokensPerMinute?: number }, maxWaiting = 1_000) {
    const admission = { burst: 0.05, maxWaiting, maxWaitingPerClient: 1_000 }
    this.ledger = createMemoryLedger([model(quota)], admission, this.clock)
  }

  ask(ticketId: string, tokens = 1, waitMs = 1e9, user = 'ann'): Ask {
    return { ticketId, model: 'm', flow: { ...FLOW, user }, weight: 1, tokens, deadlineMs: this.clock.nowMs() + waitMs }
  }

  acquire(ask: Ask): void {
    const abort = new Presence()
    this.#aborts.set(ask.ticketId, abort)
    this.#note(ask, this.ledger.acquire(ask, abort))
  }

  requeue(ask: Ask): void {
    this.#note(ask, this.ledger.requeue(ask, this.#aborts.get(ask.ticketId)!))
  }

  abort(ticketId: string): void {
    this.#aborts.get(ticketId)!.leave()
  }

  async status(): Promise<ModelStatus> {
    return (await this.ledger.status())[0]!
  }

  /** Nobody waits and nothing is held, by any count. */
  async assertEmpty(): Promise<void> {
    const { waiting, inFlight, classes } = await this.status()
    assert.deepEqual([waiting, inFlight, classes.flatMap(one => one.flows)], [0, 0, []])
  }

  #note(ask: Ask, decision: Promise<Decision>): void {
    decision.then(one => {
      this.decided.push(`${ask.ticketId} ${one.kind}`)
      this.decisions.set(ask.ticketId, one)
    })
  }
}

test("who waits is woken when the turn comes, a user's requests in order of arrival, without anybody else doing anything", async () => {
  const bench = new Bench({ requestsPerMinute: 60 })
  for (const id of ['a', 'b', 'c']) bench.acquire(bench.ask(id))
  await bench.clock.advance(900)
  assert.deepEqual(bench.decided, [])
  await bench.clock.advance(10_000)
  assert.deepEqual(bench.decided, ['a granted', 'b granted', 'c granted'])
})

test('a user with fewer turns goes before one with more, though it came later', async () => {
  const bench = new Bench({ requestsPerMinute: 60 })
  for (const id of ['a', 'b', 'c']) bench.acquire(bench.ask(id))
  await bench.clock.advance(1_500)
  assert.deepEqual(bench.decided, ['a granted'])
  bench.acquire(bench.ask('late', 1, 1e9, 'bob'))
  await bench.clock.advance(10_000)
  assert.deepEqual(bench.decided, ['a granted', 'late granted', 'b granted', 'c granted'])
})

test("another user's small request does not wait behind a large one, which is saved up for meanwhile", async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  bench.acquire(bench.ask('large', 6_000))
  for (let i = 0; i < 200; i++) bench.acquire(bench.ask(`small ${i}`, 100, 1e9, 'bob'))
  await bench.clock.advance(1_000)
  assert.ok(bench.decided.length >= 4 && !bench.decided.includes('large granted'), bench.decided.join())
  // Half of 950 a second: saved up after some 13 s, while the small ones go on with the other half.
  await bench.clock.advance(10_000)
  assert.ok(!bench.decided.includes('large granted'))
  await bench.clock.advance(4_000)
  assert.ok(bench.decided.includes('large granted'))
  assert.ok(bench.decided.length >= 70 && bench.decided.length < 200, String(bench.decided.length))
})

test("a user's large request is waited for: smaller ones of the same user behind it do not overtake", async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  bench.acquire(bench.ask('large', 2_900))
  bench.acquire(bench.ask('small', 1))
  await bench.clock.advance(2_000)
  assert.deepEqual(bench.decided, [])
  await bench.clock.advance(5_000)
  assert.deepEqual(bench.decided, ['large granted', 'small granted'])
})

test('at its deadline a waiter is refused, with when to come back, and its place is free', async () => {
  const bench = new Bench({ requestsPerMinute: 1 })
  bench.acquire(bench.ask('a', 1, 500))
  await bench.clock.advance(499)
  assert.deepEqual(bench.decided, [])
  await bench.clock.advance(1)
  assert.deepEqual(bench.decided, ['a refused'])
  const decision = bench.decisions.get('a')!
  assert.ok(decision.kind === 'refused' && decision.refusal.code === 'wait-timeout')
  assert.ok(decision.kind === 'refused' && decision.refusal.retryAfterMs! >= 1_000)
  await bench.assertEmpty()
})

test('a head that gives up lets the next one go at once, when that one fits', async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  bench.acquire(bench.ask('large', 3_000, 1_000))
  bench.acquire(bench.ask('small', 1))
  await bench.clock.advance(1_000)
  assert.deepEqual(bench.decided, ['large refused', 'small granted'])
})

test('a client that leaves frees its place and the next one moves up; leaving twice does nothing', async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  await bench.clock.advance(1_000)
  bench.acquire(bench.ask('large', 3_000))
  bench.acquire(bench.ask('small', 1))
  bench.abort('large')
  bench.abort('large')
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['large left', 'small granted'])
  assert.equal((await bench.status()).waiting, 0)
})

test('one who has left already never gets a place', async () => {
  const bench = new Bench({ requestsPerMinute: 60 })
  const abort = new Presence()
  abort.leave()
  assert.deepEqual(await bench.ledger.acquire(bench.ask('a'), abort), { kind: 'left' })
  assert.equal((await bench.status()).waiting, 0)
})

test('a settlement that gives back wakes who fits now, without waiting for the clock', async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  await bench.clock.advance(60_000)
  const first = bench.ask('first', 3_000)
  bench.acquire(first)
  bench.acquire(bench.ask('second', 3_000))
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['first granted'])
  bench.ledger.settle(first, 0)
  await bench.clock.advance(0)
  assert.deepEqual(bench.decided, ['first granted', 'second granted'])
})

test('a second settlement changes nothing, nor does one of a ticket never granted', async () => {
  const bench = new Bench({ tokensPerMinute: 60_000 })
  await bench.clock.advance(2_000)
  const ask = bench.ask('a', 1_000)
  bench.acquire(ask)
  bench.ledger.settle(ask, 10)
  const { level } = (await bench.status()).pools[0]!.tokens!
  bench.ledger.settle(ask, 0)
  bench.ledger.settle(bench.ask('never', 1_000), 0)
  assert.equal((await bench.status()).pools[0]!.tokens!.level, level)
  assert.equal((await bench.status()).inFlight, 0)
})

test('a requeued ticket goes before newcomers, after the pool has rested, and is given up at its fourth throttle', async () => {
  const bench = new Bench({ requestsPerMinute: 6_000 })
  await bench.clock.advance(60_000)
  const ask = bench.ask('a')
  bench.acquire(ask)
  await bench.clock.advance(0)
  for (let i = 0; i < 3; i++) {
    bench.decided.length = 0
    bench.requeue(ask)
    bench.acquire(bench.ask(`newcomer ${i}`))
    await bench.clock.advance(400)
    assert.deepEqual(bench.decided, [])
    await bench.clock.advance(10_000)
    assert.deepEqual(bench.decided, ['a granted', `newcomer ${i} granted`])
  }
  bench.requeue(ask)
  await bench.clock.advance(0)
  assert.equal(bench.decided.at(-1), 'a refused')
})

test('a model that the ledger does not know is a fault, not an open door', () => {
  const { ledger } = new Bench({})
  const ask: Ask = { ticketId: 'a', model: 'other', flow: FLOW, weight: 1, tokens: 1, deadlineMs: 0 }
  assert.throws(() => ledger.acquire(ask, new Presence()), /no model other/)
})

test("whatever happens, everyone is decided exactly once, each user's requests in order of arrival, and nothing is left behind", async t => {
  const event = fc.record({
    gapMs: fc.integer({ min: 0, max: 800 }),
    tokens: fc.integer({ min: 1, max: 2_000 }),
    waitMs: fc.integer({ min: 0, max: 20_000 }),
    leavesAfterMs: fc.option(fc.integer({ min: 0, max: 5_000 })),
    takesMs: fc.integer({ min: 0, max: 3_000 }),
    user: fc.constantFrom('ann', 'bob'),
    priority: fc.constantFrom(...PRIORITIES),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 60 }), async events => {
      const bench = new Bench({ tokensPerMinute: 60_000, requestsPerMinute: 120 })
      const granted = new Map<string, number[]>()
      for (const [i, { gapMs, tokens, waitMs, leavesAfterMs, takesMs, user, priority }] of events.entries()) {
        await bench.clock.advance(gapMs)
        const ask = { ...bench.ask(String(i), tokens, waitMs), flow: { ...FLOW, user, priority } }
        const flow = `${user} ${priority}`
        const abort = new Presence()
        if (leavesAfterMs !== null) bench.clock.after(leavesAfterMs, () => abort.leave())
        bench.ledger.acquire(ask, abort).then(decision => {
          bench.decided.push(String(i))
          if (decision.kind !== 'granted') return
          granted.set(flow, [...(granted.get(flow) ?? []), i])
          assert.ok(bench.clock.nowMs() <= ask.deadlineMs, 'granted after its deadline')
          bench.clock.after(takesMs, () => bench.ledger.settle(ask, tokens / 2))
        })
      }
      await bench.clock.advance(60_000)
      assert.deepEqual(
        bench.decided.map(Number).sort((a, b) => a - b),
        [...events.keys()],
      )
      for (const [flow, order] of granted)
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
          flow,
        )
      await bench.assertEmpty()
      await bench.clock.advance(120_000)
      const { requests, tokens, savedTokens } = (await bench.status()).pools[0]!
      assert.deepEqual([requests!.level, tokens!.level, savedTokens], [requests!.burst, tokens!.burst, 0])
    }),
    seeded(t, 60),
  )
})

test('a model that a reload has removed is told of while somebody is there, and no longer', async () => {
  const bench = new Bench({ requestsPerMinute: 60 })
  const ask = bench.ask('a')
  bench.acquire(ask)
  await bench.clock.advance(2_000)
  assert.deepEqual(bench.decided, ['a granted'])
  const told = async () => (await bench.ledger.status()).map(one => one.model)
  const admission = { burst: 0.05, maxWaiting: 1_000, maxWaitingPerClient: 1_000 }
  bench.ledger.configure([{ ...model({}), name: 'n' }], admission)
  assert.deepEqual(await told(), ['m', 'n'])
  bench.ledger.settle(ask, 1)
  assert.deepEqual(await told(), ['n'])
  bench.ledger.configure([model({ requestsPerMinute: 60 })], admission)
  assert.deepEqual(await told(), ['m'])
})
