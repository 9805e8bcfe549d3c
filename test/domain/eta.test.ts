import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lowerBoundMs } from '../../src/domain/eta.ts'
import { chargedPart, newMeter, roll, servedPerS } from '../../src/domain/serviceMeter.ts'
import { HIGH, NORMAL, RoomBench } from '../support/roomBench.ts'

/** One a second, three at once. */
const REQUESTS = { name: 'p', requestsPerMinute: 60 }

function etaMs(bench: RoomBench, id: string, options = {}): number {
  const entry = bench.ask(id, options)
  assert.equal(entry.kind, 'waiting')
  return entry.kind === 'waiting' ? entry.etaMs : 0
}

test('under a steady backlog the time told is that of the wait, give or take a half', () => {
  const bench = new RoomBench([REQUESTS])
  let count = 0
  const told = new Map<string, { etaMs: number; atMs: number }>()
  const fill = () => {
    while (bench.room.waitingCount < 10) {
      const id = String(count++)
      told.set(id, { etaMs: etaMs(bench, id, { user: `u${count % 5}` }), atMs: bench.nowMs })
    }
  }
  fill()
  bench.pass(300_000, fill)
  const errors = bench.turns
    .filter(turn => turn.atMs > 60_000)
    .map(turn => told.get(turn.id)!.etaMs / (turn.atMs - told.get(turn.id)!.atMs))
    .toSorted((a, b) => a - b)
  assert.ok(errors.length > 200)
  const [low, middle, high] = [0.1, 0.5, 0.9].map(part => errors[Math.floor(errors.length * part)]!)
  assert.ok(low! >= 0.5 && middle! >= 0.66 && middle! <= 1.5 && high! <= 2, [low, middle, high].join())
})

for (const [name, rank] of [
  ['high', HIGH],
  ['normal', NORMAL],
] as const) {
  test(`before anything has been served, the second ${name} request in line is told seconds, not minutes`, () => {
    const bench = new RoomBench([REQUESTS])
    bench.ask('first', { rank })
    const told = etaMs(bench, 'second', { rank, user: 'v' })
    bench.pass(5_000)
    assert.equal(bench.order().length, 2, 'both go within 5 s')
    assert.ok(told <= 10_000, `told ${told} ms`)
  })
}

test('the lower bound is none for what fits in a burst, and shrinks as reservations prove too large', () => {
  assert.equal(lowerBoundMs(3, 1, 0.05), 0)
  assert.equal(lowerBoundMs(10, 1, 0.05), 7_000)
  assert.equal(lowerBoundMs(10, 0.5, 0.05), 2_000)
})

test('nobody is refused for what its own line costs when all of that would go in time', () => {
  const bench = new RoomBench([{ name: 'p', tokensPerMinute: 60_000 }])
  bench.ask('tiny', { tokens: 10 })
  const entry = bench.ask('large', { tokens: 50_000, deadlineMs: 30_000 })
  assert.equal(entry.kind, 'waiting', 'a tiny one before it takes 10 ms, not 50 s')
  bench.pass(5_000)
  assert.ok(bench.granted('large'))
})

test('service is measured over the last one to two minutes and forgotten when nothing happens', () => {
  const meter = newMeter(0)
  assert.equal(servedPerS(meter, 1, 0), undefined)
  meter.current[1] = 30
  assert.equal(servedPerS(meter, 1, 30_000), 1)
  roll(meter, 60_000)
  assert.equal(servedPerS(meter, 1, 60_000), 0.5)
  assert.equal(servedPerS(meter, 1, 90_000), 30 / 90)
  assert.equal(servedPerS(meter, 0, 90_000), undefined)
  roll(meter, 180_000)
  assert.equal(servedPerS(meter, 1, 180_000), undefined)
})

test('a clock that jumps back empties the meter rather than dividing by a negative time', () => {
  const meter = newMeter(100_000)
  meter.current[1] = 5
  roll(meter, 90_000)
  assert.equal(servedPerS(meter, 1, 90_000), undefined)
  assert.equal(meter.startMs, 90_000)
})

test('the charged part is 1 while nothing is known and never more', () => {
  const meter = newMeter(0)
  assert.equal(chargedPart(meter), 1)
  Object.assign(meter, { reserved: 100, charged: 25 })
  assert.equal(chargedPart(meter), 0.25)
  Object.assign(meter, { charged: 500 })
  assert.equal(chargedPart(meter), 1)
})
