// Usage in JSON bodies and server-sent events, provider by provider, from hand-written samples.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Usage } from '../../src/domain/charge.ts'
import { createUsageReader } from '../../src/wire/usage.ts'
import { seeded } from '../support/seeds.ts'
import { contentType, feed, JSON_BODY, operationOf, readUsage, SERVER_SENT_EVENTS } from './readResponse.ts'

const INVOKE = '/model/m/invoke'
const CHAT = '/openai/v1/chat/completions'
const RESPONSES = '/openai/v1/responses'
const MESSAGES = '/anthropic/v1/messages'

function usage(inputTokens: number, outputTokens: number, cacheReadTokens = 0, cacheWriteTokens = 0): Usage {
  return { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }
}

const ANTHROPIC = { input_tokens: 3, output_tokens: 4, cache_read_input_tokens: 5, cache_creation_input_tokens: 6 }
const NOVA = { inputTokens: 3, outputTokens: 4, cacheReadInputTokenCount: 5, cacheWriteInputTokenCount: 6 }
const CONVERSE = { inputTokens: 3, outputTokens: 4, cacheReadInputTokens: 5, cacheWriteInputTokens: 6 }
const CHAT_USAGE = { prompt_tokens: 14, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 5 } }
const RESPONSES_USAGE = {
  input_tokens: 14,
  output_tokens: 4,
  input_tokens_details: { cached_tokens: 5, cache_write_tokens: 6 },
}

const BODIES: [string, string, unknown, Usage][] = [
  ['Anthropic', INVOKE, { usage: ANTHROPIC }, usage(3, 4, 5, 6)],
  ['Anthropic without caching', INVOKE, { usage: { input_tokens: 3, output_tokens: 4 } }, usage(3, 4)],
  ['Nova', INVOKE, { usage: NOVA }, usage(3, 4, 5, 6)],
  ['Converse', '/model/m/converse', { usage: CONVERSE }, usage(3, 4, 5, 6)],
  ['Titan', INVOKE, { inputTextTokenCount: 3, results: [{ tokenCount: 4 }, { tokenCount: 5 }] }, usage(3, 9)],
  ['Titan embeddings', INVOKE, { embedding: [0.1], inputTextTokenCount: 3 }, usage(3, 0)],
  ['Llama', INVOKE, { prompt_token_count: 3, generation_token_count: 4 }, usage(3, 4)],
  ['Cohere', INVOKE, { meta: { billed_units: { input_tokens: 3, output_tokens: 4 } } }, usage(3, 4)],
  [
    'Cohere, read against billed',
    INVOKE,
    { meta: { billed_units: { input_tokens: 1, output_tokens: 1 }, tokens: { input_tokens: 3, output_tokens: 4 } } },
    usage(3, 4),
  ],
  ['Cohere v2', INVOKE, { usage: { tokens: { input_tokens: 3, output_tokens: 4 } } }, usage(3, 4)],
  ['Mistral', INVOKE, { usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }, usage(3, 4)],
  ['OpenAI embeddings', INVOKE, { usage: { prompt_tokens: 3, total_tokens: 3 } }, usage(3, 0)],
  ['chat completions', CHAT, { usage: CHAT_USAGE }, usage(9, 4, 5)],
  ['Responses', RESPONSES, { usage: RESPONSES_USAGE }, usage(3, 4, 5, 6)],
  ['Messages', MESSAGES, { usage: ANTHROPIC }, usage(3, 4, 5, 6)],
]

for (const [provider, path, body, expected] of BODIES)
  test(`the usage in a body of ${provider} is found`, () => {
    assert.deepEqual(readUsage(path, JSON_BODY, JSON.stringify(body)), expected)
  })

test('a count that is no whole number is no usage, not a wrong one', () => {
  for (const bad of ['"3"', '-1', '1.5', '1e300', 'null', '[3]'])
    assert.equal(readUsage(INVOKE, JSON_BODY, `{"usage":{"input_tokens":${bad},"output_tokens":4}}`), undefined, bad)
})

test("a tool's arguments named usage are not taken for the usage", () => {
  const content = [{ toolUse: { input: { usage: { inputTokens: 900, outputTokens: 900 } } } }]
  const body = JSON.stringify({ usage: { inputTokens: 3, outputTokens: 4 }, output: { message: { content } } })
  assert.deepEqual(readUsage('/model/m/converse', JSON_BODY, body), usage(3, 4))
})

const COUNTS: Record<string, string> = {
  'x-amzn-bedrock-input-token-count': '31',
  'x-amzn-bedrock-output-token-count': '41',
  'x-amzn-bedrock-cache-read-input-token-count': '51',
}

test('count headers of InvokeModel win over the body, which is not kept', () => {
  const reader = createUsageReader(operationOf(INVOKE), name => COUNTS[name])
  assert.deepEqual(feed(reader, Buffer.from(JSON.stringify({ usage: ANTHROPIC }))), usage(31, 41, 51))
})

test('count headers that are blank or words leave it to the body', () => {
  for (const value of ['', ' ', 'x', '-1', '1.5', '1e3', '99999999999999999999']) {
    const header = (name: string) => (name.includes('output') ? value : COUNTS[name])
    const body = Buffer.from(JSON.stringify({ usage: ANTHROPIC }))
    assert.deepEqual(feed(createUsageReader(operationOf(INVOKE), header), body), usage(3, 4, 5, 6), value)
  }
})

test('embeddings that only say their input in a header cost that input', () => {
  const header = (name: string) => (name.includes('output') ? undefined : COUNTS[name])
  assert.deepEqual(readUsage(INVOKE, header, '{"embeddings":[[0.1]]}'), usage(31, 0))
  assert.equal(readUsage(INVOKE, header, '{"outputs":[]}'), undefined)
})

test('a JSON body longer than 8 MB is let go', () => {
  const text = `{"usage":{"inputTokens":3,"outputTokens":4},"text":"${'x'.repeat(1024 * 1024)}`
  const reader = createUsageReader(operationOf('/model/m/converse'), JSON_BODY)
  reader.push(Buffer.from(text))
  const filler = Buffer.alloc(2 * 1024 * 1024, 'x')
  for (let i = 0; i < 3; i += 1) reader.push(filler)
  reader.push(Buffer.from('"}'))
  assert.deepEqual(reader.end(), usage(3, 4))
  const longer = createUsageReader(operationOf('/model/m/converse'), JSON_BODY)
  longer.push(Buffer.from(text))
  for (let i = 0; i < 4; i += 1) longer.push(filler)
  longer.push(Buffer.from('"}'))
  assert.equal(longer.end(), undefined)
})

test('an answer of more than 250,000 values is not parsed, whole or as an event', () => {
  const text = (values: number) =>
    `{"usage":{"inputTokens":3,"outputTokens":4},"many":[${Array(values).fill(1).join(',')}]}`
  assert.deepEqual(readUsage('/model/m/converse', JSON_BODY, text(249_000)), usage(3, 4))
  assert.equal(readUsage('/model/m/converse', JSON_BODY, text(250_000)), undefined)
  const line = (values: number) => `data: ${text(values)}\n\n`
  assert.equal(readUsage(CHAT, SERVER_SENT_EVENTS, line(250_000)), undefined)
  assert.deepEqual(readUsage(CHAT, SERVER_SENT_EVENTS, line(250_000) + line(1)), usage(3, 4))
})

test('an answer of single bytes is kept as its bytes, not as an object for each', () => {
  const bytes = Buffer.from(`{"usage":{"inputTokens":3,"outputTokens":4},"text":"${'x'.repeat(1_000_000)}"}`)
  for (const header of [JSON_BODY, SERVER_SENT_EVENTS]) {
    const reader = createUsageReader(operationOf('/model/m/converse'), header)
    const before = process.memoryUsage()
    for (let at = 0; at < bytes.length; at += 1) reader.push(bytes.subarray(at, at + 1))
    const after = process.memoryUsage()
    const grown = after.heapUsed + after.external - before.heapUsed - before.external
    assert.ok(grown < 60e6, `${grown} bytes for ${bytes.length}`)
    if (header === JSON_BODY) assert.deepEqual(reader.end(), usage(3, 4))
  }
})

test('an image or an unmetered answer gives no usage', () => {
  assert.equal(readUsage(INVOKE, contentType('image/png'), JSON.stringify({ usage: NOVA })), undefined)
  assert.equal(readUsage('/model/m/count-tokens', JSON_BODY, JSON.stringify({ usage: NOVA })), undefined)
  assert.equal(readUsage('/async-invoke', JSON_BODY, JSON.stringify({ usage: NOVA })), undefined)
})

const event = (data: unknown, name?: string) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(data)}\n\n`
const named = (data: { type: string }) => event(data, data.type)

const CHAT_STREAM =
  event({ choices: [{ delta: { content: 'Grüße 👋 "usage"' } }], usage: null }) +
  event({ choices: [], usage: CHAT_USAGE }) +
  'data: [DONE]\n\n'
const RESPONSES_STREAM =
  named({ type: 'response.created' }) +
  event({ type: 'response.output_text.delta', delta: '"usage": 👋' }) +
  event({ type: 'response.completed', response: { usage: RESPONSES_USAGE } })
const MESSAGES_STREAM =
  event({ type: 'message_start', message: { usage: { ...ANTHROPIC, output_tokens: 1 } } }, 'message_start') +
  event({ type: 'content_block_delta', delta: { text: 'Grüße 👋' } }) +
  event({ type: 'message_delta', usage: { output_tokens: 2, cache_read_input_tokens: null } }) +
  event({ type: 'message_delta', usage: { output_tokens: 4 } }) +
  named({ type: 'message_stop' })

const STREAMS: [string, string, string, Usage][] = [
  ['chat completions', CHAT, CHAT_STREAM, usage(9, 4, 5)],
  ['Responses', RESPONSES, RESPONSES_STREAM, usage(3, 4, 5, 6)],
  ['Messages', MESSAGES, MESSAGES_STREAM, usage(3, 4, 5, 6)],
]

for (const [api, path, stream, expected] of STREAMS)
  test(`a stream of ${api} gives its usage under every line end and every cut`, t => {
    for (const text of [stream, stream.replaceAll('\n', '\r\n'), stream.replaceAll('data: ', 'data:'), stream.trim()]) {
      const bytes = Buffer.from(text)
      for (let cut = 0; cut < bytes.length; cut += 1) {
        const reader = createUsageReader(operationOf(path), SERVER_SENT_EVENTS)
        assert.deepEqual(feed(reader, bytes, [cut]), expected, `cut at ${cut}`)
      }
      const cuts = fc.array(fc.nat(bytes.length), { maxLength: 60 })
      fc.assert(
        fc.property(cuts, at => {
          assert.deepEqual(feed(createUsageReader(operationOf(path), SERVER_SENT_EVENTS), bytes, at), expected)
        }),
        seeded(t, 100),
      )
    }
  })

test('a Responses stream that ended for want of room is charged as well', () => {
  const stream = event({ type: 'response.incomplete', response: { usage: RESPONSES_USAGE } })
  assert.deepEqual(readUsage(RESPONSES, SERVER_SENT_EVENTS, stream), usage(3, 4, 5, 6))
})

test('a Messages stream without its message_stop gives no usage', () => {
  const cut = MESSAGES_STREAM.slice(0, MESSAGES_STREAM.indexOf('event: message_stop'))
  assert.equal(readUsage(MESSAGES, SERVER_SENT_EVENTS, cut), undefined)
})

test('an error inside a server-sent event stream is named', () => {
  const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
  for (const stream of [
    event(overloaded, 'error'),
    event(overloaded),
    event({ error: { code: 'overloaded_error' } }),
  ]) {
    const reader = createUsageReader(operationOf(MESSAGES), SERVER_SENT_EVENTS)
    assert.equal(feed(reader, Buffer.from(stream)), undefined)
    assert.equal(reader.exception?.(), 'overloaded_error')
  }
})

test('a line longer than 8 MB is dropped, and the usage after it still read', () => {
  const reader = createUsageReader(operationOf(CHAT), SERVER_SENT_EVENTS)
  reader.push(Buffer.from(event({ usage: { prompt_tokens: 1, completion_tokens: 1 } })))
  reader.push(Buffer.from('data: {"usage":{"prompt_tokens":8,"completion_tokens":8},"x":"'))
  for (let i = 0; i < 9; i += 1) reader.push(Buffer.alloc(1024 * 1024, 'x'))
  reader.push(Buffer.from('"}\n\n'))
  reader.push(Buffer.from(event({ usage: CHAT_USAGE })))
  assert.deepEqual(reader.end(), usage(9, 4, 5))
})
