import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Line } from '../support/line.ts'
import { seeded } from '../support/seeds.ts'

test('clients that always wait are served by weight, 3 : 1', () => {
  const line = new Line()
  for (let i = 0; i < 5; i++) {
    line.join({ client: 'heavy', user: 'u', weight: 3 })
    line.join({ client: 'light', user: 'u', weight: 1 })
  }
  for (let i = 0; i < 400; i++) line.serveBacklogged()
  assert.ok(Math.abs(line.of('heavy') / line.of('light') - 3) < 0.05, `${line.of('heavy')} : ${line.of('light')}`)
})

test('whatever sizes and weights, two that always wait are never further apart than their largest requests', t => {
  const flow = fc.record({ weight: fc.constantFrom(0.5, 1, 2, 7), tokens: fc.integer({ min: 1, max: 1_900 }) })
  fc.assert(
    fc.property(fc.array(flow, { minLength: 2, maxLength: 6 }), flows => {
      const line = new Line()
      for (const [i, { weight, tokens }] of flows.entries())
        for (let n = 0; n < 2; n++) line.join({ client: `c${i}`, user: 'u', weight, tokens })
      for (let turn = 0; turn < 120; turn++) {
        line.serveBacklogged()
        const had = flows.map(({ weight }, i) => line.of(`c${i}`) / weight)
        const largest = flows.map(({ weight, tokens }) => tokens / 1_000 / weight).toSorted((a, b) => b - a)
        const apart = Math.max(...had) - Math.min(...had)
        assert.ok(apart <= largest[0]! + largest[1]! + 1e-9, `turn ${turn}: ${had}`)
      }
    }),
    seeded(t, 200),
  )
})

test('the users of a client share its part equally, by what they take and not by how often', t => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1_900 }), { minLength: 2, maxLength: 6 }), sizes => {
      const line = new Line()
      for (const [i, tokens] of sizes.entries())
        for (let n = 0; n < 2; n++) line.join({ client: 'c', user: `u${i}`, tokens })
      for (let turn = 0; turn < 200; turn++) line.serveBacklogged()
      const had = sizes.map((_, i) => line.of(`c/u${i}`))
      const largest = Math.max(...sizes) / 1_000
      assert.ok(Math.max(...had) - Math.min(...had) <= 2 * largest + 1e-9, had.join())
    }),
    seeded(t, 200),
  )
})

for (const names of ['a hundred users', 'a fresh name for every request']) {
  test(`a client gains nothing against another by inventing ${names}`, () => {
    const line = new Line()
    for (let i = 0; i < 3; i++) line.join({ client: 'honest', user: 'only' })
    for (let i = 0; i < 100; i++) line.join({ client: 'inventive', user: `u${i}` })
    let fresh = 0
    for (let turn = 0; turn < 600; turn++) {
      const { ticket } = line.serve()
      const user = ticket.client === 'inventive' && names.startsWith('a fresh') ? `fresh ${fresh++}` : ticket.user
      line.join({ ...ticket, user })
    }
    assert.ok(Math.abs(line.of('honest') - line.of('inventive')) <= 0.2 + 1e-9, `${[...line.had]}`)
  })
}

test('a user already known is not starved by a neighbour who comes under a fresh name with every request', () => {
  const line = new Line()
  for (let i = 0; i < 5; i++) line.join({ client: 'c', user: 'known' })
  for (let i = 0; i < 10; i++) line.join({ client: 'c', user: `first ${i}` })
  for (let turn = 0; turn < 1_100; turn++) {
    const reservation = line.serve()
    line.queue.settle(reservation, 100)
    const isKnown = reservation.ticket.user === 'known'
    line.join({ client: 'c', user: isKnown ? 'known' : `fresh ${turn}` })
  }
  // One of eleven that wait at any time: a fair part is 100 turns of 0.1 s.
  assert.ok(line.of('c/known') >= 10 / 2 && line.of('c/known') <= 10 * 1.1, String(line.of('c/known')))
})

for (const level of ['client', 'user'] as const) {
  test(`a new ${level} starts at the virtual time: it neither catches up on its absence nor pays for it`, () => {
    const line = new Line()
    const other = level === 'client' ? { client: 'new', user: 'u' } : { client: 'old', user: 'new' }
    for (let i = 0; i < 3; i++) line.join({ client: 'old', user: 'u' })
    for (let turn = 0; turn < 100; turn++) line.serveBacklogged()
    for (let i = 0; i < 3; i++) line.join(other)
    const order = Array.from({ length: 20 }, () => {
      const { ticket } = line.serveBacklogged()
      return ticket.client === other.client && ticket.user === other.user ? 'new' : 'old'
    })
    assert.deepEqual(
      order
        .map((_, i) =>
          order
            .slice(i, i + 2)
            .toSorted()
            .join(),
        )
        .slice(1, 19),
      new Array(18).fill('new,old'),
      order.join(),
    )
  })
}

test('who has just been served alone pays for it when another comes, and who comes back later does not', () => {
  const soon = new Line()
  soon.queue.serveAtOnce(soon.ticket({ client: 'a', user: 'u', tokens: 1_000 }), 0)
  soon.join({ client: 'a', user: 'u' })
  soon.join({ client: 'b', user: 'u' })
  assert.equal(soon.head()!.client, 'b')
  const later = new Line()
  later.queue.serveAtOnce(later.ticket({ client: 'a', user: 'u', tokens: 1_000 }), 0)
  later.queue.pass(1)
  later.nowMs = 1_000
  later.join({ client: 'a', user: 'u' })
  later.join({ client: 'b', user: 'u' })
  assert.equal(later.head()!.client, 'a')
})

test('a settlement below the reservation moves a flow that waits forward, one above it back', () => {
  for (const [charged, first] of [
    [0, 'a'],
    [1_500, 'b'],
  ] as const) {
    const line = new Line()
    for (let i = 0; i < 3; i++) line.join({ client: 'c', user: 'a', tokens: 1_000 })
    for (let i = 0; i < 3; i++) line.join({ client: 'c', user: 'b', tokens: 1_000 })
    const served = [line.serve(), line.serve(), line.serve()]
    assert.deepEqual(
      served.map(one => one.ticket.user),
      ['a', 'b', 'a'],
    )
    assert.equal(line.head()!.user, 'b')
    line.queue.settle(served[0]!, charged)
    line.queue.settle(served[2]!, charged)
    assert.equal(line.head()!.user, first)
  }
})

test('no refund takes a flow before the moment at which it began to wait', t => {
  const turn = fc.record({
    client: fc.constantFrom('a', 'b'),
    user: fc.constantFrom('u', 'v'),
    tokens: fc.integer({ min: 1, max: 1_900 }),
    charged: fc.constantFrom(0, 0.5, 1),
    serves: fc.nat(2),
  })
  fc.assert(
    fc.property(fc.array(turn, { minLength: 1, maxLength: 60 }), turns => {
      const line = new Line()
      const open: ReturnType<Line['serve']>[] = []
      for (const { client, user, tokens, charged, serves } of turns) {
        line.join({ client, user, tokens })
        for (let n = 0; n < serves && line.head(); n++) open.push(line.serve())
        const settled = open.shift()
        if (settled) line.queue.settle(settled, settled.ticket.tokens * charged)
        for (const one of line.queue.clients.values()) {
          if (one.waiting > 0) assert.ok(one.tag >= one.stamp, 'client')
          for (const waiting of one.users.values()) assert.ok(waiting.tag >= waiting.tickets[0]!.userStamp, 'user')
        }
      }
    }),
    seeded(t, 300),
  )
})

test('a throttled ticket is the first of its user again and its user gets back the turn', () => {
  const line = new Line()
  for (const user of ['a', 'b']) for (let i = 0; i < 3; i++) line.join({ client: 'c', user })
  const first = line.serve()
  assert.equal(line.head()!.user, 'b')
  line.queue.rejoin(first, line.nowMs)
  assert.equal(line.head(), first.ticket)
  const order = Array.from({ length: 6 }, () => line.serve().ticket)
  assert.deepEqual(
    order.map(ticket => ticket.user),
    ['a', 'b', 'a', 'b', 'a', 'b'],
  )
  const ofA = order.filter(ticket => ticket.user === 'a').map(ticket => ticket.key)
  assert.deepEqual(ofA, ofA.toSorted(), 'in order of entry')
})

test('a throttled ticket that nobody of its client waits with comes before one who came while it was away', () => {
  const line = new Line()
  line.join({ client: 'a', user: 'u' })
  const away = line.serve()
  line.join({ client: 'b', user: 'u' })
  line.queue.rejoin(away, line.nowMs)
  assert.equal(line.head(), away.ticket)
})
