// Refusals to the letter: status, exception, message, and the words of each dialect.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_BODY_BYTES } from '../../src/simulator/simulator.ts'
import { dig, drive, json, type Seen, userSays } from './drive.ts'

const CONVERSE = '/model/anthropic.claude-v2/converse'

function exception(seen: Seen): string {
  return `${seen.status} ${seen.headers['x-amzn-errortype']?.split(':')[0]}`
}

test('an unknown route is 404 and a wrong method 405 that names the right one', async () => {
  assert.equal(exception(await drive().ask('/model/a.b/sing', {})), '404 UnknownOperationException')
  const seen = await drive().ask(CONVERSE)
  assert.equal(exception(seen), '405 UnknownOperationException')
  assert.equal(seen.headers.allow, 'POST')
})

test('a modelId that is none is refused as Bedrock does, before its body is read', async () => {
  for (const path of ['/model/does-not-exist/', '/model/no%20spaces.allowed/', '/model/.nova/'])
    for (const operation of ['converse', 'converse-stream', 'invoke', 'invoke-with-response-stream', 'count-tokens']) {
      const seen = await drive().ask(path + operation, Buffer.from('not json'))
      assert.equal(exception(seen), '400 ValidationException')
      assert.deepEqual(json(seen), { message: 'The provided model identifier is invalid.' })
    }
})

test('every accepted form of modelId is accepted', async () => {
  const ids = [
    'amazon.nova-micro-v1:0',
    'eu.amazon.nova-micro-v1:0',
    'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc',
    'arn:aws:sagemaker:us-east-1:123456789012:endpoint/x',
  ]
  for (const id of ids)
    assert.equal(
      (await drive().ask(`/model/${encodeURIComponent(id)}/converse`, { messages: userSays('a') })).status,
      200,
      id,
    )
})

test('a body that is not a JSON object is a ValidationException, however deep or broken', async () => {
  const deep = Buffer.from(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)
  const deepInside = Buffer.from(`{"messages":[],"metadata":${deep.toString()}}`)
  for (const body of [Buffer.from('{'), Buffer.from('[]'), Buffer.from('null'), Buffer.alloc(0), deep, deepInside])
    assert.equal(exception(await drive().ask(CONVERSE, body)), '400 ValidationException')
})

test('a cap that cannot be one is a ValidationException', async () => {
  for (const maxTokens of [0, -1, 1.5, '10', {}])
    assert.equal(
      exception(await drive().ask(CONVERSE, { messages: userSays('a'), inferenceConfig: { maxTokens } })),
      '400 ValidationException',
    )
})

test('a body over 25 MB is refused, one at the bound is not', async () => {
  const text = (bytes: number) => Buffer.from(`{"messages":[],"x":"${'a'.repeat(bytes - 22)}"}`)
  assert.equal(text(MAX_BODY_BYTES).length, MAX_BODY_BYTES)
  assert.equal((await drive().ask(CONVERSE, text(MAX_BODY_BYTES))).status, 200)
  assert.equal(exception(await drive().ask(CONVERSE, text(MAX_BODY_BYTES + 1))), '400 ValidationException')
})

test('refusals on OpenAI’s and Anthropic’s routes are in their words too', async () => {
  const quotas = [{ modelIds: ['*'], requestsPerMinute: 0, outputBurndown: 1, maxOutputTokens: 10 }]
  for (const [path, body] of [
    ['/openai/v1/chat/completions', { model: 'openai.x', messages: [] }],
    ['/anthropic/v1/messages', { model: 'anthropic.x', max_tokens: 5, messages: [] }],
  ] as const) {
    const seen = await drive({ quotas }).ask(path, body)
    assert.equal(seen.status, 429)
    assert.equal(dig(json(seen), 'error', 'type'), 'rate_limit_error')
    assert.equal(exception(await drive().ask(path, {})), '400 ValidationException')
  }
})

test('a hostile body cannot reach an object’s own workings', async () => {
  const body = Buffer.from(
    '{"messages":[{"role":"user","content":[{"text":"a"}]}],"__proto__":{"inferenceConfig":{"maxTokens":0}},"toolConfig":{"toolChoice":{"any":{}},"tools":[{"toolSpec":{"name":"constructor","inputSchema":{"json":{"required":["__proto__","toString"]}}}}]}}',
  )
  assert.equal((await drive().ask(CONVERSE, body)).status, 200)
})
