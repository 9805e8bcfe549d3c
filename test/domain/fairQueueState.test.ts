// What a waiting line keeps: sums that must match what waits, and memory that must not grow.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { costS, isLarge } from '../../src/domain/cost.ts'
import type { Reservation, Ticket } from '../../src/domain/ticket.ts'
import { Line, SUPPLY } from '../support/line.ts'
import { seeded } from '../support/seeds.ts'

test('tags of users who no longer wait are forgotten as time passes', () => {
  const line = new Line()
  for (let i = 0; i < 50; i++) line.join({ client: 'c', user: `u${i}`, tokens: 1_000 })
  while (line.head()) line.serve()
  const client = line.queue.clients.get('c')!
  assert.ok(client.idle.size > 0)
  line.nowMs += 60_000
  line.join({ client: 'c', user: 'new' })
  assert.equal(client.idle.size, 0)
})

for (const way of ['at once', 'after a wait'] as const) {
  test(`a fresh name for every request, served ${way}, leaves no more behind than waits or runs`, () => {
    const line = new Line()
    const running: Reservation[] = []
    const waiting = way === 'at once' ? 0 : 20
    for (let i = 0; i < waiting; i++) line.join({ client: 'c', user: `first ${i}` })
    let most = 0
    for (let turn = 0; turn < 5_000; turn++) {
      if (way === 'at once') {
        line.nowMs += 100
        line.queue.pass(0.1)
        const ticket = line.ticket({ client: 'c', user: `fresh ${turn}` })
        running.push({ ticket, pool: 'only', costS: line.queue.serveAtOnce(ticket, line.nowMs), grantedMs: 0 })
      } else {
        running.push(line.serve())
        line.join({ client: 'c', user: `fresh ${turn}` })
      }
      if (running.length > 10) line.queue.settle(running.shift()!, 100)
      most = Math.max(most, line.queue.clients.get('c')!.idle.size)
    }
    assert.ok(most <= 3 * (waiting + 10), String(most))
  })
}

type Step =
  | { kind: 'join'; client: string; user: string; weight: number; tokens: number }
  | { kind: 'serve' | 'leave' | 'settle' | 'rejoin' | 'pass'; pick: number }
  | { kind: 'resupply'; tokensPerS: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      client: fc.constantFrom('a', 'b', 'c'),
      user: fc.constantFrom('u', 'v', 'w'),
      weight: fc.constantFrom(1, 2, 0.5),
      tokens: fc.integer({ min: 1, max: 5_000 }),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      kind: fc.constantFrom('serve' as const, 'leave', 'settle', 'rejoin', 'pass'),
      pick: fc.nat(100),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('resupply' as const), tokensPerS: fc.constantFrom(500, 1_000, 4_000) }),
  },
)

test('after any history the sums and ranks are those of the tickets that wait, each in its line once', t => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), steps => {
      const line = new Line()
      const waiting: Ticket[] = []
      const running: Reservation[] = []
      let supply = SUPPLY
      for (const one of steps) {
        if (one.kind === 'join') waiting.push(line.join(one))
        else if (one.kind === 'resupply') {
          supply = { ...SUPPLY, tokensPerS: one.tokensPerS }
          line.queue.resupply(
            supply,
            waiting.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
          )
        } else walk(line, one, waiting, running)
        check(line, waiting, supply)
      }
    }),
    seeded(t, 500),
  )
})

function walk(line: Line, { kind, pick }: { kind: string; pick: number }, waiting: Ticket[], running: Reservation[]) {
  const [index, other] = [pick % Math.max(1, waiting.length), pick % Math.max(1, running.length)]
  if (kind === 'pass') {
    line.nowMs += pick * 50
    line.queue.pass(pick / 20)
  } else if (kind === 'serve' && waiting.length > 0) {
    running.push(line.serve())
    waiting.splice(waiting.indexOf(running.at(-1)!.ticket), 1)
  } else if (kind === 'leave' && waiting.length > 0) {
    line.queue.leave(waiting.splice(index, 1)[0]!, line.nowMs)
  } else if (kind === 'settle' && running.length > 0) {
    const [done] = running.splice(other, 1)
    line.queue.settle(done!, (done!.ticket.tokens * pick) / 100)
  } else if (kind === 'rejoin' && running.length > 0) {
    const [back] = running.splice(other, 1)
    line.queue.rejoin(back!, line.nowMs)
    waiting.push(back!.ticket)
  }
}

function check({ queue }: Line, waiting: Ticket[], supply: typeof SUPPLY): void {
  const near = (found: number, expected: number, what: string) =>
    assert.ok(Math.abs(found - expected) < 1e-6, `${what}: ${found}, not ${expected}`)
  assert.equal(queue.waiting, waiting.length)
  near(
    queue.waitingCostS,
    waiting.reduce((sum, ticket) => sum + costS(supply, ticket.tokens), 0),
    'waitingCostS',
  )
  const clients = [...queue.clients.values()].filter(client => client.waiting > 0)
  near(
    queue.waitingWeight,
    clients.reduce((sum, client) => sum + client.weight, 0),
    'waitingWeight',
  )
  const lined = clients.flatMap(client => [...client.users.values()].flatMap(user => user.tickets))
  assert.deepEqual(lined.map(ticket => ticket.key).toSorted(), waiting.map(ticket => ticket.key).toSorted())
  for (const client of queue.clients.values()) {
    assert.equal(queue.small.scoreOf(client.name), client.small.size > 0 ? client.tag : undefined, 'client, small')
    assert.equal(queue.large.scoreOf(client.name), client.large.size > 0 ? client.tag : undefined, 'client, large')
    assert.equal(client.small.size + client.large.size, client.users.size)
    for (const user of client.users.values()) {
      const head = user.tickets[0]!
      const ranks = isLarge(supply, head.tokens) ? client.large : client.small
      const lead = isLarge(supply, head.tokens) ? costS(supply, head.tokens) : 0
      near(ranks.scoreOf(head.key)!, user.tag + lead, 'rank of a head')
      assert.equal(client.idle.scoreOf(user.name), undefined, 'idle and waiting at once')
    }
  }
}
