// Placeholders: in which shapes, and where there are none. That SDKs decode them is shown in test/system/fallback*.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mockReply } from '../../src/simulator/mock.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { createUsageReader } from '../../src/wire/usage.ts'

const TEXT = 'A text of\n more than one word.  '
const NOW_MS = Date.UTC(2026, 10, 22)
const MESSAGES = { messages: [{ role: 'user', content: 'Hello' }] }

function mock(url: string, modelId: string, body: object | string = MESSAGES, text = TEXT) {
  const match = matchOperation('POST', url)
  assert.ok(match.kind === 'found')
  const { operation } = match.route
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const reply = mockReply({ operation, modelId, body: bytes, requestId: 'some-id', nowMs: NOW_MS }, text)
  if (!reply) return undefined
  const header = (name: string) => {
    const at = reply.headers.findIndex((one, i) => i % 2 === 0 && one.toLowerCase() === name)
    return at < 0 ? undefined : reply.headers[at + 1]
  }
  assert.equal(reply.status, 200)
  assert.equal(header('content-length'), String(reply.body.length))
  assert.equal(header('x-amzn-requestid'), 'some-id')
  const usage = createUsageReader(operation, header)
  usage.push(reply.body)
  return {
    text: reply.body.toString(),
    type: header('content-type'),
    usage: usage.end(),
    exception: usage.exception?.(),
  }
}

const NOTHING = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 }

const WHOLE: [string, string, string, (json: never) => unknown][] = [
  [
    '/model/m/converse',
    'any',
    'Converse',
    (json: { output: { message: { content: { text: string }[] } } }) => json.output.message.content[0]!.text,
  ],
  [
    '/model/m/invoke',
    'us.anthropic.claude-x',
    'Claude',
    (json: { content: { text: string }[] }) => json.content[0]!.text,
  ],
  [
    '/model/m/invoke',
    'amazon.nova-pro-v1:0',
    'Nova',
    (json: { output: { message: { content: { text: string }[] } } }) => json.output.message.content[0]!.text,
  ],
  [
    '/model/m/invoke',
    'amazon.titan-text-express-v1',
    'Titan',
    (json: { results: { outputText: string }[] }) => json.results[0]!.outputText,
  ],
  ['/model/m/invoke', 'meta.llama3-1-8b', 'Llama', (json: { generation: string }) => json.generation],
  [
    '/model/m/invoke',
    'openai.gpt-oss-120b',
    'GPT',
    (json: { choices: { message: { content: string } }[] }) => json.choices[0]!.message.content,
  ],
  [
    '/openai/v1/chat/completions',
    'openai.gpt-oss-120b',
    'chat completions',
    (json: { choices: { message: { content: string } }[] }) => json.choices[0]!.message.content,
  ],
  [
    '/openai/v1/responses',
    'openai.gpt-oss-120b',
    'Responses',
    (json: { output: { content: { text: string }[] }[] }) => json.output[0]!.content[0]!.text,
  ],
  [
    '/anthropic/v1/messages',
    'anthropic.claude-x',
    'Messages',
    (json: { content: { text: string }[] }) => json.content[0]!.text,
  ],
]
for (const [url, modelId, what, textOf] of WHOLE) {
  test(`${what}: the text in its shape, and no tokens`, () => {
    const reply = mock(url, modelId)!
    assert.equal(textOf(JSON.parse(reply.text) as never), TEXT)
    assert.equal(reply.type, 'application/json')
    if (reply.usage) assert.deepEqual(reply.usage, NOTHING)
    // A text of nothing is a text.
    assert.equal(textOf(JSON.parse(mock(url, modelId, MESSAGES, '')!.text) as never), '')
  })
}

test('by an anthropic_version in the body, where the id is an ARN', () => {
  const body = { anthropic_version: 'bedrock-2023-05-31', ...MESSAGES }
  assert.equal(JSON.parse(mock('/model/m/invoke', 'arn:aws:bedrock:x', body)!.text).content[0].text, TEXT)
})

test("a stream of Titan's ends, though it says that it took no tokens", () => {
  const reply = mock('/model/m/invoke-with-response-stream', 'amazon.titan-text-express-v1', { inputText: 'Hello' })!
  const events = [...reply.text.matchAll(/"bytes":"([^"]+)"/g)].map(([, bytes]) =>
    JSON.parse(Buffer.from(bytes!, 'base64').toString()),
  )
  assert.equal(events.map(event => event.outputText).join(''), TEXT)
  assert.equal(events.at(-1).completionReason, 'FINISH')
  assert.deepEqual(reply.usage, NOTHING)
})

test('streams that the body asks for are server-sent events, to their end', () => {
  const chat = mock('/openai/v1/chat/completions', 'openai.gpt', { ...MESSAGES, stream: true })!
  assert.match(chat.type!, /^text\/event-stream/)
  assert.ok(chat.text.endsWith('data: [DONE]\n\n'))
  const messages = mock('/anthropic/v1/messages', 'anthropic.claude', { ...MESSAGES, stream: true })!
  assert.match(messages.text, /event: message_stop\ndata: .*\n\n$/)
  assert.equal(messages.exception, undefined)
})

const NONE: [string, string, string, (object | string)?][] = [
  ['vectors', '/model/m/invoke', 'amazon.titan-embed-text-v2:0', { inputText: 'Hello' }],
  ["Cohere's vectors", '/model/m/invoke', 'cohere.embed-english-v3', { texts: ['Hello'] }],
  ['pictures', '/model/m/invoke', 'amazon.titan-image-generator-v2:0', { taskType: 'TEXT_IMAGE' }],
  ["Nova's pictures", '/model/m/invoke', 'amazon.nova-canvas-v1:0', { taskType: 'TEXT_IMAGE' }],
  ['an order', '/model/m/invoke', 'cohere.rerank-v3-5:0', { query: 'Hello' }],
  ['vectors of a maker that also writes', '/model/m/invoke', 'amazon.nova-2-multimodal-embeddings-v1:0', {}],
  ["an unknown maker's InvokeModel", '/model/m/invoke', 'some.new-model', { prompt: 'Hello' }],
  ['a body that is no object', '/model/m/converse', 'any', '[]'],
  ['a body that is no JSON', '/model/m/converse', 'any', '{'],
]
for (const [what, url, modelId, body] of NONE) {
  test(`${what}: there is no placeholder`, () => assert.equal(mock(url, modelId, body), undefined))
}
