// Event streams no recording shows: caching, exceptions, missing metrics, frames beyond the bounds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createUsageReader } from '../../src/wire/usage.ts'
import { EVENT_STREAM, feed, operationOf, readUsage } from './readResponse.ts'
import { encodeChunk, encodeEvent, encodeFrame } from './recordings.ts'

const INVOKE = '/model/m/invoke-with-response-stream'
const CONVERSE = '/model/m/converse-stream'
const DELTA = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Grüße' } }
const START = {
  type: 'message_start',
  message: {
    usage: { input_tokens: 14, output_tokens: 1, cache_read_input_tokens: 5, cache_creation_input_tokens: 7 },
  },
}
const END = { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 134 } }

function exceptionFrame(name: string): Buffer {
  const headers = { ':exception-type': name, ':content-type': 'application/json', ':message-type': 'exception' }
  return encodeFrame(headers, '{"message":"Too many tokens, please wait before trying again."}')
}

test('cached tokens of a ConverseStream are counted apart', () => {
  const usage = { inputTokens: 3, outputTokens: 4, totalTokens: 16, cacheReadInputTokens: 9, cacheWriteInputTokens: 1 }
  const stream = Buffer.concat([encodeEvent('messageStop', {}), encodeEvent('metadata', { metrics: {}, usage })])
  const expected = { inputTokens: 3, outputTokens: 4, cacheReadTokens: 9, cacheWriteTokens: 1 }
  assert.deepEqual(readUsage(CONVERSE, EVENT_STREAM, stream), expected)
})

test("Bedrock's metrics win over the model's own counts, which differ (134 against 90 in a recording)", () => {
  const metrics = {
    inputTokenCount: 14,
    outputTokenCount: 90,
    cacheReadInputTokenCount: 5,
    cacheWriteInputTokenCount: 7,
  }
  const stop = { type: 'message_stop', 'amazon-bedrock-invocationMetrics': metrics }
  const stream = Buffer.concat([START, DELTA, END, stop].map(encodeChunk))
  const expected = { inputTokens: 14, outputTokens: 90, cacheReadTokens: 5, cacheWriteTokens: 7 }
  assert.deepEqual(readUsage(INVOKE, EVENT_STREAM, stream), expected)
})

test('an event after the metrics does not unsay them', () => {
  const last = { 'amazon-bedrock-invocationMetrics': { inputTokenCount: 1, outputTokenCount: 2 } }
  const stream = Buffer.concat([last, { type: 'message_stop' }].map(encodeChunk))
  assert.equal(readUsage(INVOKE, EVENT_STREAM, stream)?.outputTokens, 2)
})

test("without metrics a finished Anthropic message's own counts are used", () => {
  const stream = Buffer.concat([START, DELTA, END, { type: 'message_stop' }].map(encodeChunk))
  const expected = { inputTokens: 14, outputTokens: 134, cacheReadTokens: 5, cacheWriteTokens: 7 }
  assert.deepEqual(readUsage(INVOKE, EVENT_STREAM, stream), expected)
})

test('without metrics an Anthropic message that is not all there gives no usage', () => {
  const stop = { type: 'message_stop' }
  for (const events of [
    [START, DELTA, END],
    [START, stop],
    [END, stop],
    [DELTA, stop],
  ])
    assert.equal(readUsage(INVOKE, EVENT_STREAM, Buffer.concat(events.map(encodeChunk))), undefined)
})

test('a model that merely writes about the metrics does not set them', () => {
  const text = '"amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":1},"message_stop"'
  const stream = encodeChunk({ type: 'content_block_delta', delta: { text } })
  assert.equal(readUsage(INVOKE, EVENT_STREAM, stream), undefined)
})

test('a chunk whose keys come in another order is still read', () => {
  const metrics = { 'amazon-bedrock-invocationMetrics': { inputTokenCount: 1, outputTokenCount: 2 } }
  const bytes = Buffer.from(JSON.stringify(metrics)).toString('base64')
  const stream = encodeEvent('chunk', { a: 1, bytes })
  assert.equal(readUsage(INVOKE, EVENT_STREAM, stream)?.outputTokens, 2)
})

test('an exception inside a stream is named and leaves no usage', () => {
  for (const path of [INVOKE, CONVERSE]) {
    const stream = Buffer.concat([
      encodeEvent('messageStart', {}),
      encodeChunk(START),
      exceptionFrame('throttlingException'),
    ])
    for (const cuts of [[], [stream.length - 20], Array.from(stream, (_, i) => i)]) {
      const reader = createUsageReader(operationOf(path), EVENT_STREAM)
      assert.equal(feed(reader, stream, cuts), undefined)
      assert.equal(reader.exception?.(), 'throttlingException')
    }
  }
})

test('an unmodeled error frame is named by its code', () => {
  const headers = { ':message-type': 'error', ':error-code': 'InternalFailure', ':error-message': 'sorry' }
  const reader = createUsageReader(operationOf(CONVERSE), EVENT_STREAM)
  feed(reader, encodeFrame(headers, ''))
  assert.equal(reader.exception?.(), 'InternalFailure')
})

test('headers of every other type before the event type are stepped over', () => {
  const usage = { inputTokens: 3, outputTokens: 4 }
  const event = encodeEvent('metadata', { usage })
  const others = Buffer.from(
    '01610001620101630207016403000701650400000007016605000000000000000701670600020102' +
      `01680800000000000000070169 09${'00'.repeat(16)}`.replace(' ', ''),
    'hex',
  )
  const frame = Buffer.concat([event.subarray(0, 12), others, event.subarray(12)])
  frame.writeUInt32BE(frame.length, 0)
  frame.writeUInt32BE(event.readUInt32BE(4) + others.length, 4)
  assert.equal(readUsage(CONVERSE, EVENT_STREAM, frame)?.inputTokens, 3)
})

test('a frame that claims more than AWS allows ends the reading, and keeps what was final', () => {
  const metadata = encodeEvent('metadata', { usage: { inputTokens: 3, outputTokens: 4 } })
  const later = encodeEvent('metadata', { usage: { inputTokens: 8, outputTokens: 8 } })
  const giant = Buffer.from('7fffffff00000010000000000000000000000000', 'hex')
  assert.equal(readUsage(CONVERSE, EVENT_STREAM, Buffer.concat([metadata, giant, later]))?.inputTokens, 3)
  assert.equal(readUsage(CONVERSE, EVENT_STREAM, Buffer.concat([giant, later])), undefined)
})

test('a skipped frame longer than a chunk does not hide the frame after it', () => {
  const long = encodeEvent('contentBlockDelta', { delta: { text: 'x'.repeat(200_000) } })
  const stream = Buffer.concat([long, encodeEvent('metadata', { usage: { inputTokens: 3, outputTokens: 4 } })])
  for (const size of [1_000, 65_536, long.length, long.length + 1]) {
    const cuts = Array.from({ length: Math.floor(stream.length / size) }, (_, i) => (i + 1) * size)
    const reader = createUsageReader(operationOf(CONVERSE), EVENT_STREAM)
    assert.equal(feed(reader, stream, cuts)?.inputTokens, 3, `chunks of ${size}`)
  }
})
