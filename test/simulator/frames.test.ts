// Event-stream frames as Bedrock writes them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dig, drive, type Frame, frames, type Seen, userSays } from './drive.ts'

const PADDING = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const STREAMS: [string, unknown][] = [
  ['/model/anthropic.claude-v2/converse-stream', { messages: userSays('Say') }],
  [
    '/model/anthropic.claude-v2/invoke-with-response-stream',
    { anthropic_version: 'x', max_tokens: 50, messages: userSays('Say') },
  ],
  ['/model/meta.llama3-8b/invoke-with-response-stream', { prompt: 'Say' }],
  ['/model/mistral.mistral-7b/invoke-with-response-stream', { prompt: 'Say' }],
  ['/model/cohere.command-text-v14/invoke-with-response-stream', { prompt: 'Say' }],
  ['/model/cohere.command-r-v1:0/invoke-with-response-stream', { message: 'Say' }],
  ['/model/amazon.titan-text-lite-v1/invoke-with-response-stream', { inputText: 'Say' }],
]

async function streamed(path: string, body: unknown): Promise<{ seen: Seen; list: Frame[] }> {
  const seen = await drive({ answerTokens: 200 }).ask(path, body)
  return { seen, list: frames(seen.body) }
}

for (const [path, body] of STREAMS) {
  test(`frames carry Bedrock's headers in Bedrock's order: ${path}`, async () => {
    const { list } = await streamed(path, body)
    assert.ok(list.length > 1)
    for (const { headers } of list) {
      assert.deepEqual(
        headers.map(([name]) => name),
        [':event-type', ':content-type', ':message-type'],
      )
      assert.deepEqual(
        headers.slice(1).map(([, value]) => value),
        ['application/json', 'event'],
      )
    }
  })

  test(`payloads have their keys in alphabetical order and padding of varying length: ${path}`, async () => {
    const { list } = await streamed(path, body)
    const lengths = new Set<number>()
    for (const { payload, raw } of list) {
      const keys = Object.keys(Object(payload))
      assert.deepEqual(keys, keys.toSorted())
      assert.equal(raw, JSON.stringify(payload))
      const padding = String(dig(payload, 'p'))
      assert.ok(padding.length > 0 && PADDING.startsWith(padding))
      lengths.add(padding.length)
    }
    assert.ok(lengths.size > 1)
  })
}

test('the last chunk of every provider tells Bedrock’s count of the call, and no other does', async () => {
  for (const [path, body] of STREAMS.slice(1)) {
    const { list } = await streamed(path, body)
    const metrics = list.map(({ payload }) => {
      const inner: unknown = JSON.parse(Buffer.from(String(dig(payload, 'bytes')), 'base64').toString())
      return dig(inner, 'amazon-bedrock-invocationMetrics')
    })
    assert.equal(typeof dig(metrics.at(-1), 'outputTokenCount'), 'number', path)
    assert.ok(
      metrics.slice(0, -1).every(one => one === undefined),
      path,
    )
  }
})

test('tokens come in groups, at the pace of the model, after the first', async () => {
  const latency = { firstTokenMs: 300, perTokenMs: 20, jitter: 0 }
  const driven = drive({ latency, answerTokens: 1000 })
  const body = { messages: userSays('Say'), inferenceConfig: { maxTokens: 100 } }
  const seen = await driven.ask('/model/anthropic.claude-v2/converse-stream', body)
  assert.equal(seen.chunkTimesMs[0], 300)
  assert.equal(seen.chunkTimesMs.at(-1), 300 + 99 * 20)
  assert.ok(seen.chunkTimesMs.length > 20 && seen.chunkTimesMs.length < 100)
  assert.equal(dig(frames(seen.body).at(-1)?.payload, 'metrics', 'latencyMs'), 300 + 99 * 20)
})

test('jitter moves every wait, within its bound', async () => {
  const latency = { firstTokenMs: 1000, perTokenMs: 0, jitter: 0.3 }
  const driven = drive({ latency })
  const seen = Array.from({ length: 200 }, () => driven.send(...STREAMS[0]!))
  await driven.clock.advance(10_000)
  const firsts = seen.map(one => one.chunkTimesMs[0]!)
  assert.ok(firsts.every(ms => ms >= 700 && ms <= 1300))
  assert.ok(Math.max(...firsts) - Math.min(...firsts) > 400)
})
