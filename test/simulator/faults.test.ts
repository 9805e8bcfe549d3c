// Faults by rate and switch, each seen by the caller as Bedrock's own would be.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Faults, NO_FAULTS } from '../../src/simulator/settings.ts'
import { chunks, dig, drive, frames, json, type Seen, serverSent, userSays } from './drive.ts'

const CALLS = 2000
const STREAM = '/model/anthropic.claude-v2/converse-stream'
const BODY = { messages: userSays('Say this is a test') }

async function many(faults: Partial<Faults>, path: string, body: unknown = BODY): Promise<Seen[]> {
  const driven = drive({ faults: { ...NO_FAULTS, ...faults } })
  const seen = Array.from({ length: CALLS }, () => driven.send(path, body))
  await driven.clock.advance(3_600_000)
  return seen
}

function rate(seen: Seen[], is: (one: Seen) => boolean): number {
  return seen.filter(is).length / seen.length
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 0.04, `${actual} is not about ${expected}`)
}

function lastFrameKind(seen: Seen): string | undefined {
  return frames(seen.body)
    .at(-1)
    ?.headers.find(([name]) => name === ':message-type')?.[1]
}

test('errorRate answers that part of calls with 500 or 503, evenly', async () => {
  const seen = await many({ errorRate: 0.3 }, '/model/anthropic.claude-v2/converse')
  near(
    rate(seen, one => one.status === 500),
    0.15,
  )
  near(
    rate(seen, one => one.status === 503),
    0.15,
  )
  const failed = seen.find(one => one.status === 503)!
  assert.match(failed.headers['x-amzn-errortype']!, /^ServiceUnavailableException:/)
  assert.equal(typeof dig(json(failed), 'message'), 'string')
})

test('a call that failed with 5xx is charged no tokens', async () => {
  const driven = drive({ faults: { ...NO_FAULTS, errorRate: 1 } })
  await driven.ask('/model/anthropic.claude-v2/converse', BODY)
  const [counts] = driven.simulator.counts().quotas
  assert.deepEqual([counts!.accepted, counts!.errors, counts!.tokensCharged], [1, 1, 0])
})

test('cutRate destroys that part of streams after their first bytes and inside a frame', async () => {
  const seen = await many({ cutRate: 0.2 }, STREAM)
  near(
    rate(seen, one => one.state === 'cut'),
    0.2,
  )
  for (const one of seen.filter(({ state }) => state === 'cut')) {
    assert.equal(one.status, 200)
    assert.ok(one.body.length > 200)
    assert.throws(() => frames(one.body), 'the last frame is not whole')
  }
})

test('cutRate leaves a whole body shorter than its Content-Length says', async () => {
  const seen = await many({ cutRate: 1 }, '/model/anthropic.claude-v2/invoke', {
    anthropic_version: 'x',
    max_tokens: 9,
    messages: BODY.messages,
  })
  for (const one of seen) assert.ok(one.state === 'cut' && one.body.length < Number(one.headers['content-length']))
})

test('streamExceptionRate ends that part of streams in an exception frame, without usage', async () => {
  const seen = await many({ streamExceptionRate: 0.4 }, STREAM)
  near(
    rate(seen, one => lastFrameKind(one) === 'exception'),
    0.4,
  )
  for (const one of seen.filter(each => lastFrameKind(each) === 'exception')) {
    const list = frames(one.body)
    assert.deepEqual(
      list.at(-1)!.headers.map(([name]) => name),
      [':exception-type', ':content-type', ':message-type'],
    )
    assert.deepEqual(
      list.slice(0, 2).map(frame => frame.headers[0]![1]),
      ['messageStart', 'contentBlockDelta'],
    )
    assert.ok(!list.some(frame => frame.headers[0]![1] === 'metadata'))
    assert.equal(one.state, 'ended')
  }
})

test('an exception in a stream of server-sent events is an event of type error', async () => {
  const seen = await many({ streamExceptionRate: 1 }, '/anthropic/v1/messages', {
    model: 'anthropic.claude-x',
    max_tokens: 50,
    stream: true,
    messages: BODY.messages,
  })
  const last = serverSent(seen[0]!.body).at(-1)!
  assert.equal(last.event, 'error')
  assert.equal(dig(JSON.parse(last.data), 'type'), 'error')
})

test('slowRate delays that part of first tokens by slowMs', async () => {
  const seen = await many({ slowRate: 0.25, slowMs: 5000 }, STREAM)
  near(
    rate(seen, one => one.chunkTimesMs[0] === 5000),
    0.25,
  )
  near(
    rate(seen, one => one.chunkTimesMs[0] === 0),
    0.75,
  )
})

test('an outage fails every call at once: destroyed before a byte, or 503', async () => {
  for (const [path, body] of [
    [STREAM, BODY],
    ['/model/anthropic.claude-v2/count-tokens', { input: { converse: BODY } }],
  ] as const) {
    const seen = await many({ outage: true }, path, body)
    near(
      rate(seen, one => one.status === 503 && one.state === 'ended'),
      0.5,
    )
    near(
      rate(seen, one => one.status === 0 && one.state === 'cut' && one.body.length === 0),
      0.5,
    )
  }
})

test('a broken stream is charged for what it produced', async () => {
  const driven = drive({ answerTokens: 100, faults: { ...NO_FAULTS, streamExceptionRate: 1 } })
  const seen = await driven.ask('/model/amazon.nova-micro-v1:0/invoke-with-response-stream', {
    messages: userSays('Hey'),
    inferenceConfig: { max_new_tokens: 60 },
  })
  const text = frames(seen.body)
    .slice(0, -1)
    .map((_, i) => dig(chunks(Buffer.from(seen.body))[i], 'contentBlockDelta', 'delta', 'text') ?? '')
    .join('')
  const [counts] = driven.simulator.counts().quotas
  assert.equal(counts!.tokensCharged, 1 + text.split(' ').length)
  assert.equal(counts!.broken, 1)
})

test('turning a fault on does not change the answers of the calls it spares', async () => {
  const calm = await many({}, '/model/anthropic.claude-v2/converse')
  const rough = await many({ errorRate: 0.5 }, '/model/anthropic.claude-v2/converse')
  for (const [i, one] of rough.entries()) if (one.status === 200) assert.deepEqual(one.body, calm[i]!.body)
})
