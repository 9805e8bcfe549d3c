// Same seed, same requests in the same order of time: the same bytes at the same moments.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NO_FAULTS, type SimulatorSettings } from '../../src/simulator/settings.ts'
import { seeded } from '../support/seeds.ts'
import { drive, type Seen, userSays } from './drive.ts'

const ROUGH: Partial<SimulatorSettings> = {
  latency: { firstTokenMs: 200, perTokenMs: 15, jitter: 0.5 },
  faults: { ...NO_FAULTS, errorRate: 0.1, cutRate: 0.1, streamExceptionRate: 0.1, slowRate: 0.1, slowMs: 900 },
  quotas: [{ modelIds: ['*'], requestsPerMinute: 30, outputBurndown: 5, maxOutputTokens: 100 }],
}
const CALLS: [string, unknown][] = [
  ['/model/anthropic.claude-v2/converse-stream', { messages: userSays('one') }],
  ['/model/amazon.nova-micro-v1:0/invoke-with-response-stream', { messages: userSays('two') }],
  ['/model/meta.llama3-8b/invoke', { prompt: 'three' }],
  ['/openai/v1/responses', { model: 'openai.gpt-oss-20b-1:0', input: 'four', stream: true }],
  ['/anthropic/v1/messages', { model: 'anthropic.claude-x', max_tokens: 9, messages: userSays('five') }],
  ['/model/nothing/invoke', {}],
]

async function run(
  seed: number,
  order: number[],
  gapMs: number,
): Promise<Pick<Seen, 'status' | 'headers' | 'body' | 'chunkTimesMs' | 'state'>[]> {
  const driven = drive({ ...ROUGH, seed })
  const seen: Seen[] = []
  for (const i of order) {
    seen.push(driven.send(...CALLS[i]!))
    await driven.clock.advance(gapMs)
  }
  await driven.clock.advance(3_600_000)
  return seen.map(({ status, headers, body, chunkTimesMs, state }) => ({ status, headers, body, chunkTimesMs, state }))
}

test('the same seed gives the same bytes at the same moments', async t => {
  const order = fc.array(fc.integer({ min: 0, max: CALLS.length - 1 }), { maxLength: 40 })
  await fc.assert(
    fc.asyncProperty(fc.integer(), order, fc.integer({ min: 0, max: 400 }), async (seed, list, gapMs) => {
      assert.deepEqual(await run(seed, list, gapMs), await run(seed, list, gapMs))
    }),
    seeded(t, 30),
  )
})

test('another seed gives other request ids and other words', async () => {
  const [a, b] = [await run(1, [0, 2], 0), await run(2, [0, 2], 0)]
  assert.notEqual(a[0]!.headers['x-amzn-requestid'], b[0]!.headers['x-amzn-requestid'])
  assert.notDeepEqual(a[1]!.body, b[1]!.body)
})

test('request ids are shaped as UUIDs and are all different', async () => {
  const seen = await run(
    1,
    Array.from({ length: 500 }, (_, i) => i % CALLS.length),
    1,
  )
  const ids = seen.map(one => one.headers['x-amzn-requestid'] ?? '')
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(new Set(ids).size, ids.length)
})

test('the Date header is the clock’s', async () => {
  const [first] = await run(1, [2], 0)
  assert.equal(first!.headers.date, 'Sun, 22 Nov 2026 00:00:00 GMT')
})
