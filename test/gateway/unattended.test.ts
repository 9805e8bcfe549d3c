// A client that leaves, and a call that runs on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settledTokens, type Usage } from '../../src/domain/charge.ts'
import { Attempt } from '../../src/gateway/attempt.ts'
import { Capture, CaptureSpace } from '../../src/gateway/capture.ts'
import { Guard } from '../../src/gateway/guard.ts'
import { NotedAnswer } from '../../src/gateway/notedAnswer.ts'
import type { Answer, FlowControl, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { Trial } from '../../src/gateway/trial.ts'
import { Unattended } from '../../src/gateway/unattended.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { type Behaviour, RESERVED, Recorder, VirtualGateway as World } from '../support/virtualGateway.ts'

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
    const { outcome, status, chargedTokens, throttledBy } = world.finished[0]!
    assert.deepEqual([outcome, status], ['aborted', undefined])
    // A throttle is counted where it happened, and is no charge of the client's.
    assert.deepEqual([chargedTokens, throttledBy], behaviour.kind === 'throttles' ? [0, ['only']] : [charged, []])
  })
}

test('a call that Bedrock does not meter is broken off: there is nothing to learn from it', async () => {
  const { world } = await left(ANSWERS, 500, { metered: false })
  assert.equal(world.abandoned, 1)
})

test('a call that has found no connection yet is never sent', async () => {
  const { world } = await left({ kind: 'queues' }, 500)
  await world.clock.advance(0)
  assert.equal(world.abandoned, 1)
  assert.deepEqual(world.settlements.get('0'), [0])
})

/** Holds its reader back whenever it hears something, and when it likes. */
class Slow extends Recorder {
  flow: FlowControl | undefined
  override head(status: number, headers: string[], notes: Notes, flow?: FlowControl): void {
    super.head(status, headers, notes)
    this.flow = flow
  }
}

test('whoever held an ending back, or kept a copy, lets go of it, of its room and of the flow', async () => {
  const clock = new VirtualClock()
  const space = new CaptureSpace(10_000)
  const client = new Slow()
  const copying = new Trial(new Capture(client, 10_000, space))
  const holding = new Guard(new NotedAnswer(client, () => ({})), clock)
  let isPaused = false
  const flow = {
    pause() {
      isPaused = true
    },
    resume() {
      isPaused = false
    },
  }
  const begin = (answer: Answer, status: number) => {
    const attempt = new Attempt(answer, { waitMs: 0, attempts: 1 }, () => {}, undefined, new Unattended(1, clock))
    const presence = new Presence()
    const over = attempt.over(presence, () => ({ isSent: true, abandon: () => assert.fail('it runs on') }))
    attempt.head(status, [], flow)
    attempt.data(Buffer.from('a'))
    return { attempt, presence, over }
  }
  const answered = begin(copying, 200)
  client.flow!.pause()
  assert.deepEqual([isPaused, space.leftBytes < 10_000], [true, true])
  answered.presence.leave()
  assert.deepEqual([isPaused, space.leftBytes], [false, 10_000])
  client.flow!.pause()
  assert.equal(isPaused, false)
  answered.attempt.end(USAGE)
  await answered.over
  const said = [...client.said]
  const refused = begin(holding, 503)
  refused.presence.leave()
  await clock.advance(10_000)
  assert.deepEqual(client.said, said)
  refused.attempt.end(undefined)
  await refused.over
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
