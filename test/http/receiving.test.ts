import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PRIORITIES, type Priority } from '../../src/domain/model.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { ADVANCE_BYTES, REQUEST_BYTES, Receiving, UNPROVEN } from '../../src/http/receiving.ts'
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

/** What clients hold whose requests take turns until there is no more room for any. */
function fill(receiving: Receiving, clients: string[], priority: Priority): number[] {
  const held = clients.map(() => 0)
  const begin = (client: string) => receiving.admit(priority, 0, client)
  const places = clients.map(begin)
  let isTaking = true
  while (isTaking) {
    isTaking = false
    for (const [i, client] of clients.entries()) {
      const place = places[i]
      // Of several requests, each of a megabyte at most.
      const more = place?.arrived(KB) ? KB : 0
      if (held[i]! % MB === 0) places[i] = begin(client)
      held[i]! += more
      isTaking ||= more > 0
    }
  }
  return held
}

for (const [priority, most] of [
  ['high', 1],
  ['normal', 0.9],
  ['low', 0.8],
] as const)
  for (const clients of [['a'], ['a', 'b'], ['a', 'b', 'c']])
    test(`of ${clients.length} ${priority} that want all each holds its part, and one more of the class finds some`, () => {
      const { stage, receiving } = receivingOf(64 * MB)
      const part = (4 / (4 * clients.length + 1)) * most
      for (const held of fill(receiving, clients, priority))
        assert.ok(Math.abs(held - part * 64 * MB) < MB, `${held / MB} MB, not ${part * 64}`)
      const refusal = receiving.refusal(priority, KB, clients[0])
      assert.match(refusal.message, /^The client a holds as much as one may of this gateway \(receive\), please wait/)
      assert.deepEqual([stage.isFull, stage.refused], [false, [0, 0, 0]])
      assert.ok(receiving.admit(priority, MB, 'newcomer'))
    })

test('what a client holds for its low requests leaves it room for the others', () => {
  const { receiving } = receivingOf(64 * MB)
  fill(receiving, ['a'], 'low')
  assert.equal(receiving.admit('low', MB, 'a'), undefined)
  assert.ok(receiving.admit('normal', MB, 'a') && receiving.admit('high', MB, 'a'))
})

test('the only request of a client may be as large as the room allows, and a second one not', () => {
  const { receiving } = receivingOf(10 * MB)
  const place = receiving.admit('high', 9 * MB, 'a')!
  assert.ok(place.arrived(9 * MB))
  assert.equal(receiving.admit('high', 600 * KB, 'a'), undefined)
  assert.ok(receiving.admit('high', 600 * KB, 'b'))
  place.release()
  assert.ok(receiving.admit('high', 9 * MB, 'a'))
})

test('one whose next bytes find no room is told whether it is its part that is used up', () => {
  const { stage, receiving } = receivingOf(10 * MB)
  const [first, second] = [receiving.admit('high', 0, 'a')!, receiving.admit('high', 0, 'a')!]
  first.arrived(7 * MB)
  assert.equal(second.arrived(2 * MB), false)
  assert.match(second.refusal().message, /^The client a holds/)
  const other = receiving.admit('high', 0, UNPROVEN)!
  assert.equal(other.arrived(4 * MB), false)
  assert.match(other.refusal().message, /^Too many requests are in this gateway/)
  assert.equal(stage.refused[0], 1)
  receiving.admit('high', 0, UNPROVEN)
  assert.equal(other.arrived(2.5 * MB), false)
  assert.match(other.refusal().message, /^Requests whose credentials are yet to be proven hold as much as one may/)
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
