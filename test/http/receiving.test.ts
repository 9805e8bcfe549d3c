import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PRIORITIES } from '../../src/domain/model.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { ADVANCE_BYTES, REQUEST_BYTES, Receiving } from '../../src/http/receiving.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const KB = 1024
const MB = 1024 * KB

function receivingOf(limit: number) {
  const clock = new VirtualClock()
  const stage = new Stage('receive', limit, clock, { observe() {} })
  return { clock, stage, receiving: new Receiving(stage, clock) }
}

test('a declared body takes room as it comes, holds it until its request has ended, and is not begun where it would not fit', () => {
  const { stage, receiving } = receivingOf(10 * MB)
  const place = receiving.admit('high', 6 * MB)!
  assert.equal(stage.depth, ADVANCE_BYTES + REQUEST_BYTES)
  assert.equal(place.arrived(6 * MB), true)
  assert.equal(stage.depth, 6 * MB + REQUEST_BYTES)
  assert.equal(receiving.admit('high', 6 * MB), undefined)
  place.whole()
  assert.equal(receiving.admit('high', 6 * MB), undefined, 'a body that waits for its turn is in memory too')
  place.release()
  assert.ok(receiving.admit('high', 6 * MB))
})

test('two bodies that come at once, with room for one, cost one of them its room in its middle and not the other', () => {
  const { stage, receiving } = receivingOf(10 * MB)
  const [one, other] = [receiving.admit('high', 6 * MB)!, receiving.admit('high', 6 * MB)!]
  assert.ok(one.arrived(5 * MB) && other.arrived(4 * MB))
  assert.equal(one.arrived(MB), false)
  assert.equal(stage.depth, 9 * MB + 2 * REQUEST_BYTES, 'what is refused is not counted')
  one.release()
  assert.ok(other.arrived(2 * MB))
})

test('what is taken in advance is enough for the whole of a small body, however full it gets', () => {
  const { stage, receiving } = receivingOf(MB)
  const place = receiving.admit('low', ADVANCE_BYTES)!
  while (receiving.admit('high', 0));
  assert.equal(place.arrived(ADVANCE_BYTES), true)
  place.whole()
  place.release()
  assert.ok(stage.fits('high', ADVANCE_BYTES))
})

test('of a small body what was taken and did not come is given back at its end', () => {
  const { stage, receiving } = receivingOf(MB)
  const place = receiving.admit('high', 1_000)!
  place.arrived(400)
  place.whole()
  assert.equal(stage.depth, REQUEST_BYTES + 400)
})

test('a body without a length is counted as it comes, and stopped where there is no more room', () => {
  const { stage, receiving } = receivingOf(MB)
  const place = receiving.admit('high', 0)!
  let taken = 0
  while (place.arrived(64 * 1024)) taken += 64 * 1024
  assert.ok(taken >= 900 * 1024 && taken + REQUEST_BYTES <= MB, `${taken} bytes`)
  assert.equal(stage.depth, taken + REQUEST_BYTES)
  place.release()
  assert.equal(stage.depth, 0)
})

test('requests without a body are bounded in number too', () => {
  const { receiving } = receivingOf(MB)
  let admitted = 0
  while (receiving.admit('high', 0)) admitted += 1
  assert.equal(admitted, MB / REQUEST_BYTES)
})

test('heads that declare much and send nothing keep no room from others', () => {
  const { stage, receiving } = receivingOf(512 * MB)
  for (let head = 0; head < 1_000; head += 1) assert.ok(receiving.admit('high', 25 * MB), `head ${head}`)
  assert.equal(stage.depth, 1_000 * (ADVANCE_BYTES + REQUEST_BYTES))
  assert.ok(receiving.admit('low', 25 * MB))
})

/** Bytes that bodies without a length may send until there is no more room, of clients that take turns. */
function fill(receiving: Receiving, clients: string[]): number[] {
  const places = clients.map(client => receiving.admit('high', 0, client)!)
  const taken = clients.map(() => 0)
  let isTaking = true
  while (isTaking) {
    isTaking = false
    for (const [i, place] of places.entries()) {
      if (!place.arrived(KB)) continue
      taken[i]! += KB
      isTaking = true
    }
  }
  return taken
}

for (const [clients, part] of [
  [['a'], 4 / 5],
  [['a', 'b'], 4 / 9],
  [['a', 'b', 'c'], 4 / 13],
] as const)
  test(`of ${clients.length} clients that want all, each holds ${part.toFixed(2)} of the room, and one more finds some`, () => {
    const { stage, receiving } = receivingOf(10 * MB)
    for (const taken of fill(receiving, [...clients])) {
      assert.ok(Math.abs(taken - part * 10 * MB) < 2 * REQUEST_BYTES, `${taken / MB} MB`)
    }
    const refusal = receiving.refusal('high', KB, clients[0])
    assert.match(refusal.message, /^The client a holds its part of this gateway \(receive\), please wait/)
    assert.equal(stage.isFull, false)
    assert.equal(stage.refused[0], 1)
    assert.ok(receiving.admit('high', 100 * KB, 'newcomer'))
  })

test('who alone holds a part has it all again once it is given back', () => {
  const { receiving } = receivingOf(10 * MB)
  const place = receiving.admit('high', 7 * MB, 'a')!
  assert.ok(place.arrived(7 * MB))
  assert.equal(receiving.admit('high', 2 * MB, 'a'), undefined)
  assert.ok(receiving.admit('high', 2 * MB, 'b'))
  place.release()
  assert.ok(receiving.admit('high', 6 * MB, 'a'))
})

test('where the room itself is full, that is what is said', () => {
  const { stage, receiving } = receivingOf(MB)
  while (receiving.admit('high', 0));
  assert.match(receiving.refusal('high', REQUEST_BYTES, 'a').message, /^Too many requests are in this gateway/)
  assert.equal(stage.isFull, true)
})

test('whatever becomes of requests, what is held is what they hold, and nothing once all have ended', async t => {
  const step = fc.record({
    who: fc.nat(9),
    what: fc.constantFrom('admit', 'admit', 'arrived', 'arrived', 'whole', 'release', 'wait'),
    bytes: fc.nat(300_000),
    priority: fc.constantFrom(...PRIORITIES),
    client: fc.constantFrom(undefined, 'a', 'b'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 200 }), async steps => {
      const { clock, stage, receiving } = receivingOf(MB)
      const places = new Map<number, NonNullable<ReturnType<typeof receiving.admit>>>()
      for (const { who, what, bytes, priority, client } of steps) {
        const place = places.get(who)
        if (what === 'wait') await clock.advance(bytes / 10)
        else if (!place && what === 'admit') {
          const admitted = receiving.admit(priority, bytes, client)
          if (admitted) places.set(who, admitted)
        } else if (what === 'arrived') place?.arrived(bytes)
        else if (what === 'whole') place?.whole()
        else if (what === 'release') {
          place?.release()
          place?.release()
          places.delete(who)
        }
        assert.ok(stage.depth >= places.size * REQUEST_BYTES && stage.depth <= MB, `${stage.depth} held`)
      }
      for (const place of places.values()) place.release()
      assert.equal(stage.depth, 0)
      const all = ['a', 'b', undefined].map(client => receiving.admit('high', MB / 2, client))
      assert.ok(all.every(Boolean), 'nobody is thought to hold anything')
    }),
    seeded(t, 300),
  )
})
