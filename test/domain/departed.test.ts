// Who leaves the line without a turn and comes back by the same invocation id: it regains its place, and nobody more than
// its share by it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { askOf, RoomBench } from '../support/roomBench.ts'
import { seeded } from '../support/seeds.ts'

/** A hundred tokens a second, five seconds at once. */
const POOL = { name: 'p', tokensPerMinute: 6_000 }
const settings = { burstShare: 0.05 }

/** With an empty bucket. */
function emptied(): RoomBench {
  return new RoomBench([POOL], settings)
}

test('a retry goes before what its user asked for after it', () => {
  const bench = emptied()
  for (const id of ['a', 'b', 'c']) bench.ask(id, { invocation: id, tokens: 50 })
  bench.cancel('a')
  bench.ask('d', { tokens: 50 })
  bench.ask('a again', { invocation: 'a', tokens: 50 })
  bench.pass(5_000)
  assert.deepEqual(bench.order(), ['a again', 'b', 'c', 'd'])
})

/** When a large request is served beside three users who always wait, if it leaves after ten seconds and comes back so much later. */
function servedAtMs(awayMs: number | 'stays', invocation: string): number {
  const bench = emptied()
  let asked = 0
  const stay = (user: string) => bench.ask(`${user} ${asked++}`, { user, tokens: 50 })
  const go = (ms: number) =>
    bench.pass(ms, () => {
      for (const id of [...bench.running.keys()]) {
        bench.settle(id)
        if (!id.startsWith('mine')) stay(id.split(' ')[0]!)
      }
    })
  const large = { user: 'me', tokens: 400 }
  for (const user of ['ann', 'bob', 'eve']) for (let i = 0; i < 3; i++) stay(user)
  bench.ask('mine', { ...large, invocation: 'call' })
  go(10_000)
  if (awayMs !== 'stays') {
    assert.ok(bench.cancel('mine'))
    go(awayMs)
    bench.ask('mine again', { ...large, invocation })
  }
  go(60_000)
  return bench.turns.find(turn => turn.id.startsWith('mine'))!.atMs
}

test('a retry has what its user lagged behind while it waited, and no more for having been away', () => {
  const stays = servedAtMs('stays', 'call')
  for (const awayMs of [0, 8_000]) {
    const again = servedAtMs(awayMs, 'call')
    const anew = servedAtMs(awayMs, 'another')
    assert.ok(again >= stays + awayMs, `away for ${awayMs}: ${again} beside ${stays}`)
    assert.ok(again <= anew - 5_000, `away for ${awayMs}: ${again} beside ${anew}`)
  }
})

test('what is remembered is bounded, and forgotten after a minute, the oldest first', () => {
  const bench = new RoomBench([POOL], settings, 1e6)
  const { departed } = bench.room
  for (let i = 0; i < 10_050; i++) {
    bench.ask(`t${i}`, { invocation: `i${i}` })
    bench.cancel(`t${i}`)
  }
  assert.equal(departed.names().length, 10_000)
  const ask = (i: number) => askOf('again', { invocation: `i${i}` })
  assert.equal(departed.take(ask(49), bench.nowMs), undefined)
  assert.ok(departed.take(ask(50), bench.nowMs))
  assert.equal(departed.take(ask(50), bench.nowMs), undefined, 'once')
  assert.equal(departed.take(askOf('again', { invocation: 'i60', user: 'v' }), bench.nowMs), undefined)
  assert.ok(departed.take(ask(60), bench.nowMs + 59_999))
  assert.equal(departed.take(ask(61), bench.nowMs + 60_000), undefined)
  bench.nowMs += 61_000
  for (let sweep = 0; sweep < 101; sweep++) {
    bench.tick()
    bench.nowMs += 1_000
  }
  assert.equal(departed.names().length, 0)
})

/** Somebody asks for so many at once, takes them all back, and asks again for one after the other. */
interface Round {
  tokens: number[]
  staysMs: number
  awayMs: number
  fresh: number
}

const LARGEST = 150
const rounds = fc.array(
  fc.record({
    tokens: fc.array(fc.integer({ min: 1, max: LARGEST }), { minLength: 1, maxLength: 12 }),
    staysMs: fc.nat(4_000),
    awayMs: fc.oneof(fc.nat(500), fc.nat(20_000)),
    fresh: fc.nat(5),
  }),
  { minLength: 2, maxLength: 12 },
)

/** One who comes and goes beside one who stays, and others under ever new names. */
class Comings {
  readonly bench = emptied()
  readonly served = new Map<string, number>()
  #seen = 0
  #asked = 0

  run(all: Round[]): void {
    for (let i = 0; i < 4; i++) this.#ask('stayer', 100)
    for (const { tokens, staysMs, awayMs, fresh } of all) {
      for (let i = 0; i < fresh; i++) this.#ask(`fresh${this.#asked}`, 100)
      const asked = tokens.map(each => ({ id: this.#ask('hopper', each), tokens: each }))
      this.#pass(staysMs)
      const unserved = asked.filter(({ id }) => this.bench.cancel(id))
      this.#pass(awayMs)
      for (const { id, tokens } of unserved) {
        this.#ask('hopper', tokens, id)
        while (this.bench.room.queues[1]!.clients.get('c')!.users.has('hopper')) this.#pass(100)
      }
    }
  }

  #ask(user: string, tokens: number, invocation?: string): string {
    const id = `${user} ${this.#asked++}`
    this.bench.ask(id, { user, tokens, invocation: invocation ?? id })
    this.#settle()
    return id
  }

  #pass(ms: number): void {
    this.bench.pass(ms, () => this.#settle())
  }

  #settle(): void {
    while (this.#seen < this.bench.turns.length) {
      const { id, tokens } = this.bench.turns[this.#seen++]!
      this.bench.settle(id)
      const user = id.split(' ')[0]!
      this.served.set(user, (this.served.get(user) ?? 0) + tokens)
      if (user === 'stayer') this.#ask('stayer', 100)
      const ahead = (this.served.get('hopper') ?? 0) - (this.served.get('stayer') ?? 0)
      assert.ok(ahead <= LARGEST + 100, `${ahead} tokens ahead of one who stays`)
    }
  }
}

test('whoever comes and goes is never served more than one who stays in line, but for one request of each', t => {
  fc.assert(
    fc.property(rounds, all => new Comings().run(all)),
    seeded(t, 200),
  )
})
