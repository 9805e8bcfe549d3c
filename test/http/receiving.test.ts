import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PRIORITIES } from '../../src/domain/model.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { REQUEST_BYTES, Receiving } from '../../src/http/receiving.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const MB = 1024 * 1024

function receivingOf(limit: number) {
  const clock = new VirtualClock()
  const stage = new Stage('receive', limit, clock, { observe() {} })
  return { clock, stage, receiving: new Receiving(stage, clock) }
}

test('room for a declared body is taken before it is read, and held until the request has ended', () => {
  const { stage, receiving } = receivingOf(10 * MB)
  const place = receiving.admit('high', 6 * MB)!
  assert.equal(stage.depth, 6 * MB + REQUEST_BYTES)
  assert.equal(receiving.admit('high', 6 * MB), undefined)
  assert.equal(place.arrived(6 * MB), true)
  place.whole()
  assert.equal(receiving.admit('high', 6 * MB), undefined, 'a body that waits for its turn is in memory too')
  place.release()
  assert.ok(receiving.admit('high', 6 * MB))
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

test('senders who declare much and send little keep no room from others for longer than six seconds', async () => {
  const { clock, stage, receiving } = receivingOf(100 * MB)
  const slow = Array.from({ length: 3 }, () => receiving.admit('high', 25 * MB)!)
  for (const place of slow) place.arrived(1)
  const steady = receiving.admit('high', 20 * MB)!
  for (let second = 0; second < 5; second += 1) {
    assert.equal(receiving.admit('high', 25 * MB), undefined, `after ${second} s`)
    await clock.advance(1_001)
    steady.arrived(MB)
  }
  assert.ok(receiving.admit('high', 25 * MB))
  assert.equal(stage.depth, 20 * MB + 25 * MB + 3 + 5 * REQUEST_BYTES, 'one who sends at a fair pace keeps its room')
  assert.equal(slow[0]!.arrived(MB), true, 'and a slow one may still finish where there is room')
  assert.equal(slow[0]!.arrived(75 * MB), false)
})

test('whatever becomes of requests, what is held is what they hold, and nothing once all have ended', async t => {
  const step = fc.record({
    who: fc.nat(9),
    what: fc.constantFrom('admit', 'admit', 'arrived', 'arrived', 'whole', 'release', 'wait'),
    bytes: fc.nat(300_000),
    priority: fc.constantFrom(...PRIORITIES),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 200 }), async steps => {
      const { clock, stage, receiving } = receivingOf(MB)
      const places = new Map<number, NonNullable<ReturnType<typeof receiving.admit>>>()
      for (const { who, what, bytes, priority } of steps) {
        const place = places.get(who)
        if (what === 'wait') await clock.advance(bytes / 10)
        else if (!place && what === 'admit') {
          const admitted = receiving.admit(priority, bytes)
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
    }),
    seeded(t, 300),
  )
})
