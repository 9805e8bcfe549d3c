// What a request asks for: output caps, models, and bodies that are refused.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Demand, readDemand } from '../../src/wire/demand.ts'
import { seeded } from '../support/seeds.ts'
import { operationOf } from './readResponse.ts'

const INVOKE = '/model/m/invoke'
const CONVERSE = '/model/m/converse'
const CHAT = '/openai/v1/chat/completions'

function demandOf(path: string, body: unknown): Demand {
  const result = readDemand(operationOf(path), Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  if (result.kind !== 'ok') throw new Error(result.message)
  return result.demand
}

function faultOf(path: string, body: string | Buffer): string {
  const result = readDemand(operationOf(path), Buffer.isBuffer(body) ? body : Buffer.from(body))
  assert.equal(result.kind, 'malformed')
  return result.message
}

const CAPS: [string, string, unknown, number | undefined][] = [
  ['Converse', CONVERSE, { messages: [], inferenceConfig: { maxTokens: 7 } }, 7],
  ['Converse that sets none', CONVERSE, { messages: [], inferenceConfig: { temperature: 1 } }, undefined],
  ['Converse, where the model has its own', CONVERSE, { additionalModelRequestFields: { max_tokens: 7 } }, 7],
  [
    'Converse, where its own field is overridden',
    '/model/m/converse-stream',
    { inferenceConfig: { maxTokens: 9 }, additionalModelRequestFields: { max_completion_tokens: 7 } },
    7,
  ],
  [
    'Converse, where Nova has its own',
    CONVERSE,
    { additionalModelRequestFields: { inferenceConfig: { max_new_tokens: 7 } } },
    7,
  ],
  ['Nova', INVOKE, { inferenceConfig: { max_new_tokens: 7 } }, 7],
  ['Nova as maxTokens', INVOKE, { inferenceConfig: { maxTokens: 7 } }, 7],
  ['Nova as maxNewTokens', INVOKE, { inferenceConfig: { maxNewTokens: 7 } }, 7],
  ['Anthropic', '/model/m/invoke-with-response-stream', { max_tokens: 7 }, 7],
  ['Anthropic text completion', INVOKE, { prompt: 'x', max_tokens_to_sample: 7 }, 7],
  ['Titan', INVOKE, { inputText: 'x', textGenerationConfig: { maxTokenCount: 7 } }, 7],
  ['Llama', INVOKE, { prompt: 'x', max_gen_len: 7 }, 7],
  ['AI21', INVOKE, { prompt: 'x', maxTokens: 7, numResults: 3 }, 21],
  ['Cohere', INVOKE, { prompt: 'x', max_tokens: 7, num_generations: 2 }, 14],
  ['OpenAI on InvokeModel', INVOKE, { max_completion_tokens: 7, n: 2 }, 14],
  ['chat completions', CHAT, { model: 'm', max_completion_tokens: 7 }, 7],
  ['chat completions, old field', CHAT, { model: 'm', max_tokens: 7, n: 3 }, 21],
  ['chat completions with nulls', CHAT, { model: 'm', max_tokens: null, n: null }, undefined],
  ['Responses', '/openai/v1/responses', { model: 'm', input: 'x', max_output_tokens: 7 }, 7],
  ['Messages', '/anthropic/v1/messages', { model: 'm', max_tokens: 7 }, 7],
  ['two fields, of which it cannot be told who reads which', INVOKE, { max_tokens: 5, max_gen_len: 7 }, 7],
  ['more answers than any provider gives', CHAT, { model: 'm', max_tokens: 10, n: 1e9 }, 1280],
  ['a cap near the largest number', CHAT, { model: 'm', max_tokens: 2 ** 53 - 1, n: 9 }, Number.MAX_SAFE_INTEGER],
]

for (const [provider, path, body, cap] of CAPS)
  test(`the output cap of ${provider} is read`, () => {
    assert.equal(demandOf(path, body).outputCap, cap)
  })

test('a request for several answers without a cap says how many', () => {
  assert.deepEqual(demandOf(CHAT, { model: 'm', n: 4 }), {
    textBytes: 19,
    mediaTokens: 0,
    answers: 4,
    modelId: 'm',
  })
})

test('a cap that is no whole number is refused by field and kind, not by value', () => {
  const found: [string, string][] = [
    ['"4096"', 'a string'],
    ['""', 'an empty string'],
    ['-5', 'a negative number'],
    ['1.5', 'a fraction'],
    ['1e400', 'a number too large'],
    ['9007199254740993', 'a number too large'],
    ['true', 'a boolean'],
    ['[5]', 'an array'],
    ['{}', 'an object'],
  ]
  for (const [value, kind] of found) {
    const expected = `Malformed input request: expected a whole number in 'inferenceConfig.maxTokens', found ${kind}.`
    assert.equal(faultOf(CONVERSE, `{"inferenceConfig":{"maxTokens":${value}}}`), expected)
    assert.match(faultOf(CHAT, `{"model":"m","max_tokens":5,"n":${value}}`), /'n'/)
  }
})

test('a body of millions of tiny values is refused before it is parsed, a large prompt is not', () => {
  const tiny = `{"a":[${'{},'.repeat(300_000)}{}]}`
  assert.match(faultOf(CONVERSE, tiny), /more than 250000 values/)
  const prompt = JSON.stringify({ messages: [{ content: [{ text: 'a, b, {c}, [d] '.repeat(100_000) }] }] })
  assert.ok(demandOf(CONVERSE, prompt).textBytes > 1_000_000)
})

test('a cap of zero is the request’s own affair: some APIs warm a cache with it', () => {
  assert.equal(demandOf(INVOKE, '{"max_tokens":0}').outputCap, 0)
})

test("InvokeModel's empty blob is Bedrock's to refuse, in its own order", () => {
  assert.deepEqual(demandOf(INVOKE, ''), { textBytes: 0, mediaTokens: 0, answers: 1 })
})

test('an overridden cap that is wrong is still refused', () => {
  const body = '{"inferenceConfig":{"maxTokens":"x"},"additionalModelRequestFields":{"max_tokens":7}}'
  assert.match(faultOf(CONVERSE, body), /'inferenceConfig.maxTokens'/)
})

test('a body that is no JSON object is refused without a word of it', () => {
  const expected = 'Malformed input request: expected a JSON object, found '
  const bodies: [string, string][] = [
    ['', 'an empty body'],
    ['secret', 'text that is not valid JSON'],
    ['{"secret": }', 'text that is not valid JSON'],
    ['{"secret":1} secret', 'text that is not valid JSON'],
    ['["secret"]', 'an array'],
    ['"secret"', 'a string'],
    ['null', 'null'],
    ['17', 'a number'],
  ]
  for (const [body, found] of bodies) assert.equal(faultOf(CONVERSE, body), `${expected}${found}.`)
})

test('any bytes are either read or refused with a short message, never thrown over', t => {
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    fc.json().map(text => Buffer.from(text)),
    fc
      .dictionary(fc.constantFrom('max_tokens', 'n', 'model', 'type', 'source', 'image', 'images'), fc.jsonValue())
      .map(object => Buffer.from(JSON.stringify(object))),
  )
  const property = fc.property(fc.constantFrom(INVOKE, CONVERSE, CHAT, '/async-invoke'), bodies, (path, body) => {
    const result = readDemand(operationOf(path), body)
    if (result.kind === 'malformed') assert.ok(result.message.length < 200)
    else assert.ok(result.demand.textBytes >= 0 && result.demand.textBytes <= body.length)
  })
  fc.assert(property, seeded(t, 3000))
})

test('the model named in the body is read, in any script, and must be there', () => {
  assert.equal(demandOf(CHAT, { model: 'openai.gpt-oss-120b-1:0' }).modelId, 'openai.gpt-oss-120b-1:0')
  assert.equal(demandOf(CHAT, { model: 'modèle-模型' }).modelId, 'modèle-模型')
  assert.equal(demandOf('/async-invoke', { modelId: 'amazon.nova-reel-v1:0' }).modelId, 'amazon.nova-reel-v1:0')
  assert.equal(demandOf(INVOKE, { model: 'ignored' }).modelId, undefined)
  assert.match(faultOf(CHAT, '{}'), /expected a model's id in 'model', found nothing\.$/)
  assert.match(faultOf(CHAT, '{"model":5}'), /'model', found a number\.$/)
  assert.match(faultOf('/async-invoke', '{"model":"m"}'), /'modelId', found nothing\.$/)
  for (const again of ['"model":"b"', '"\\u006dodel":"b"', '"model":null', '"x":{"model":"c"},"model":"a"'])
    assert.match(faultOf(CHAT, `{"messages":[],${again},"model":"a"}`), /expected 'model' once, found it again\.$/)
  assert.equal(demandOf(CHAT, '{"x":{"model":"b"},"y":"\\"model\\":\\"b\\"","model":"a"}').modelId, 'a')
  assert.match(faultOf(CHAT, JSON.stringify({ model: 'm'.repeat(2049) })), /at most 2048 characters in 'model'/)
})

test('an unmetered body is not read, so a broken one is for Bedrock to refuse', () => {
  const demand = { textBytes: 8, mediaTokens: 0, answers: 1 }
  assert.deepEqual(demandOf('/model/m/count-tokens', 'not JSON'), demand)
})
