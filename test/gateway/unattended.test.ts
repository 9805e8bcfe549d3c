// A client that leaves, and a call that runs on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settledTokens, type Usage } from '../../src/domain/charge.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { Unattended } from '../../src/gateway/unattended.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { type Behaviour, RESERVED, VirtualGateway as World } from '../support/virtualGateway.ts'

const USAGE: Usage = { inputTokens: 10, outputTokens: 20, cacheReadTokens: 0, cacheWriteTokens: 0 }
const ANSWERS: Behaviour = { kind: 'answers', status: 200, usage: USAGE, afterMs: 1_000, takesMs: 1_000 }
const MINUTE_MS = 60_000

/** Clients that leave `atMs`, one after the other. */
async function left(behaviour: Behaviour, atMs: number, { clients = 1, unattended = 1, metered = true } = {}) {
  const world = new World(() => behaviour, { unattended })
  const presences = Array.from({ length: clients }, () => new Presence())
  const calls = presences.map((presence, i) => world.call(String(i), presence, { metered }))
  await world.clock.advance(atMs)
  for (const presence of presences) presence.leave()
  return { world, calls }
}

for (const [when, atMs, said] of [
  ['before the first byte', 500, []],
  ['in the middle of the answer', 1_500, ['head 200']],
] as const) {
  test(`a client that leaves ${when} hears no more, and is charged what its answer cost`, async () => {
    const { world, calls } = await left(ANSWERS, atMs)
    await world.clock.advance(MINUTE_MS)
    assert.deepEqual(calls[0]!.answer.said, said)
    assert.deepEqual(world.settlements.get('0'), [settledTokens(USAGE, 5)])
    assert.equal(world.abandoned, 0)
    const { outcome, status, usage, chargedTokens, waitMs, totalMs } = world.finished[0]!
    assert.deepEqual([outcome, status, usage], ['aborted', undefined, USAGE])
    assert.deepEqual([chargedTokens, totalMs - waitMs], [settledTokens(USAGE, 5), 2_000])
  })
}

test('calls beyond the room are broken off at once, and an ended one makes room', async () => {
  const { world } = await left(ANSWERS, 500, { clients: 3, unattended: 2 })
  await world.clock.advance(0)
  assert.equal(world.abandoned, 1)
  assert.deepEqual(world.settlements.get('2'), [RESERVED])
  await world.clock.advance(MINUTE_MS)
  assert.deepEqual(world.settlements.get('1'), [settledTokens(USAGE, 5)])
  const again = new Presence()
  world.call('again', again)
  await world.clock.advance(500)
  again.leave()
  await world.clock.advance(MINUTE_MS)
  assert.deepEqual(world.settlements.get('again'), [settledTokens(USAGE, 5)])
})

for (const [what, behaviour, charged] of [
  ['a throttle', { kind: 'throttles', afterMs: 1_000 }, RESERVED],
  ['an error', { kind: 'errors', status: 503, afterMs: 1_000 }, 0],
  ['a failure', { kind: 'fails', sent: true, afterMs: 1_000 }, RESERVED],
  ['a cut answer', { kind: 'cuts', afterMs: 1_000, takesMs: 1_000 }, RESERVED],
] as [string, Behaviour, number][]) {
  test(`${what} that nobody waits for any more is told to nobody, and the call is not sent again`, async () => {
    const { world, calls } = await left(behaviour, 500)
    await world.clock.advance(MINUTE_MS)
    assert.deepEqual([world.sent.length, calls[0]!.answer.said], [1, []])
    assert.deepEqual(world.settlements.get('0'), [charged])
    assert.deepEqual([world.finished[0]!.outcome, world.finished[0]!.status], ['aborted', undefined])
  })
}

test('a call that Bedrock does not meter is broken off: there is nothing to learn from it', async () => {
  const { world } = await left(ANSWERS, 500, { metered: false })
  assert.equal(world.abandoned, 1)
})

test('an answer that does not end is given up after half an hour', async () => {
  const { world } = await left({ kind: 'stalls' }, 500)
  await world.clock.advance(30 * MINUTE_MS - 1)
  assert.equal(world.abandoned, 0)
  await world.clock.advance(1)
  assert.equal(world.abandoned, 1)
  assert.deepEqual(world.settlements.get('0'), [RESERVED])
  assert.equal(world.finished[0]!.outcome, 'aborted')
})

test('closing waits for those who run on, gives up who is late, and takes no more', async () => {
  const clock = new VirtualClock()
  const none = new Unattended(2, clock)
  await none.close(1_000)
  const unattended = new Unattended(2, clock)
  const quick = unattended.take(() => assert.fail('it had ended'))!
  const slow = unattended.take(() => slow())!
  let isClosed = false
  const closing = unattended.close(1_000).then(() => {
    isClosed = true
  })
  quick()
  assert.equal(
    unattended.take(() => {}),
    undefined,
  )
  await clock.advance(999)
  assert.equal(isClosed, false)
  await clock.advance(1)
  assert.equal(isClosed, true)
  await closing
})
