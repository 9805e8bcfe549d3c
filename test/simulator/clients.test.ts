// Real clients against the real server: they must take the simulator for Bedrock.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import AnthropicBedrock from '@anthropic-ai/bedrock-sdk'
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  CountTokensCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
  ListAsyncInvokesCommand,
  StartAsyncInvokeCommand,
  ThrottlingException,
} from '@aws-sdk/client-bedrock-runtime'
import OpenAI from 'openai'
import { startSimulator } from '../../src/simulator/server.ts'
import { NO_FAULTS, type SimulatorSettings } from '../../src/simulator/settings.ts'
import { systemClock } from '../../src/system.ts'
import { dig, QUICK } from './drive.ts'

const modelId = 'us.anthropic.claude-3-5-sonnet-20240620-v1:0'
const messages = [{ role: 'user' as const, content: [{ text: 'Say this is a test' }] }]
const claudeBody = JSON.stringify({
  anthropic_version: 'bedrock-2023-05-31',
  max_tokens: 50,
  messages: [{ role: 'user', content: 'Say' }],
})

async function start(t: TestContext, settings: Partial<SimulatorSettings> = {}) {
  const running = await startSimulator({
    settings: { ...QUICK, ...settings },
    clock: systemClock,
    host: '127.0.0.1',
    port: 0,
  })
  const aws = new BedrockRuntimeClient({
    endpoint: running.url,
    region: 'eu-west-1',
    credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
    maxAttempts: 1,
  })
  t.after(async () => {
    aws.destroy()
    await running.close()
  })
  return { running, aws }
}

test('AWS SDK: Converse', async t => {
  const { aws, running } = await start(t)
  const answer = await aws.send(new ConverseCommand({ modelId, messages, inferenceConfig: { maxTokens: 9 } }))
  assert.equal(answer.stopReason, 'max_tokens')
  assert.equal(answer.usage?.outputTokens, 9)
  assert.equal(answer.output?.message?.content?.[0]?.text?.split(' ').length, 9)
  assert.match(answer.$metadata.requestId ?? '', /^[0-9a-f-]{36}$/)
  assert.equal(running.simulator.counts().quotas[0]?.region, 'eu-west-1', 'the Region is the signature’s')
})

test('AWS SDK: ConverseStream', async t => {
  const { aws } = await start(t)
  const answer = await aws.send(new ConverseStreamCommand({ modelId, messages }))
  const kinds: string[] = []
  let words = 0
  let outputTokens: number | undefined
  for await (const event of answer.stream ?? []) {
    kinds.push(...Object.keys(event))
    words += event.contentBlockDelta?.delta?.text?.match(/\S+/g)?.length ?? 0
    outputTokens = event.metadata?.usage?.outputTokens ?? outputTokens
  }
  assert.equal(kinds[0], 'messageStart')
  assert.deepEqual(kinds.slice(-3), ['contentBlockStop', 'messageStop', 'metadata'])
  assert.equal(words, outputTokens)
})

test('AWS SDK: InvokeModel', async t => {
  const { aws } = await start(t)
  const answer = await aws.send(new InvokeModelCommand({ modelId, body: claudeBody, serviceTier: 'flex' }))
  const message: unknown = JSON.parse(answer.body.transformToString())
  assert.equal(dig(message, 'model'), 'claude-3-5-sonnet-20240620')
  assert.equal(answer.contentType, 'application/json')
  assert.equal(answer.serviceTier, 'flex')
})

test('AWS SDK: InvokeModelWithResponseStream', async t => {
  const { aws } = await start(t)
  const answer = await aws.send(new InvokeModelWithResponseStreamCommand({ modelId, body: claudeBody }))
  const types: unknown[] = []
  for await (const event of answer.body ?? [])
    types.push(dig(JSON.parse(Buffer.from(event.chunk?.bytes ?? []).toString()), 'type'))
  assert.deepEqual([types[0], types.at(-1)], ['message_start', 'message_stop'])
  assert.equal(answer.contentType, 'application/json')
})

test('AWS SDK: CountTokens', async t => {
  const { aws } = await start(t)
  const converse = await aws.send(new CountTokensCommand({ modelId, input: { converse: { messages } } }))
  assert.equal(converse.inputTokens, 5)
  const invoke = await aws.send(
    new CountTokensCommand({ modelId, input: { invokeModel: { body: Buffer.from(claudeBody) } } }),
  )
  assert.equal(invoke.inputTokens, 1)
})

test('AWS SDK: asynchronous invocations', async t => {
  const { aws } = await start(t)
  const outputDataConfig = { s3OutputDataConfig: { s3Uri: 's3://bucket' } }
  const { invocationArn } = await aws.send(
    new StartAsyncInvokeCommand({ modelId: 'amazon.nova-reel-v1:0', modelInput: {}, outputDataConfig }),
  )
  const { asyncInvokeSummaries } = await aws.send(
    new ListAsyncInvokesCommand({ statusEquals: 'InProgress', submitTimeAfter: new Date(0) }),
  )
  assert.equal(asyncInvokeSummaries?.[0]?.invocationArn, invocationArn)
  assert.ok(asyncInvokeSummaries?.[0]?.submitTime instanceof Date)
})

test('AWS SDK: a throttle is its ThrottlingException', async t => {
  const { aws } = await start(t, {
    quotas: [{ modelIds: ['*'], requestsPerMinute: 0, outputBurndown: 1, maxOutputTokens: 9 }],
  })
  await assert.rejects(aws.send(new ConverseCommand({ modelId, messages })), ThrottlingException)
})

test('AWS SDK: an exception frame is thrown from the stream', async t => {
  const { aws } = await start(t, { seed: 3, answerTokens: 500, faults: { ...NO_FAULTS, streamExceptionRate: 1 } })
  const answer = await aws.send(new ConverseStreamCommand({ modelId, messages }))
  await assert.rejects(async () => {
    for await (const _ of answer.stream ?? []);
  }, /Exception/)
})

test('Anthropic’s Bedrock SDK: a message, whole and streamed', async t => {
  const { running } = await start(t)
  const client = new AnthropicBedrock({
    baseURL: running.url,
    awsRegion: 'us-east-1',
    awsAccessKey: 'AKID',
    awsSecretKey: 'secret',
    maxRetries: 0,
  })
  const ask = { model: modelId, max_tokens: 50, messages: [{ role: 'user' as const, content: 'Say' }] }
  const message = await client.messages.create(ask)
  assert.equal(message.content[0]?.type, 'text')
  const final = await client.messages.stream(ask).finalMessage()
  assert.ok(final.usage.output_tokens > 0 && final.stop_reason !== null)
})

test('OpenAI’s SDK: Chat Completions, whole and streamed with usage', async t => {
  const { running } = await start(t)
  const client = new OpenAI({ baseURL: `${running.url}/openai/v1`, apiKey: 'key', maxRetries: 0 })
  const ask = { model: 'openai.gpt-oss-20b-1:0', messages: [{ role: 'user' as const, content: 'Say' }] }
  const whole = await client.chat.completions.create(ask)
  assert.ok(whole.choices[0]?.message.content)
  const stream = client.chat.completions.stream({ ...ask, stream: true, stream_options: { include_usage: true } })
  const usage = await stream.totalUsage()
  const text = (await stream.finalContent()) ?? ''
  assert.equal(text.split(' ').length, usage.completion_tokens)
})

test('OpenAI’s SDK: Responses, whole and streamed', async t => {
  const { running } = await start(t)
  const client = new OpenAI({ baseURL: `${running.url}/openai/v1`, apiKey: 'key', maxRetries: 0 })
  const ask = { model: 'openai.gpt-oss-20b-1:0', input: 'Say' }
  const whole = await client.responses.create(ask)
  assert.equal(whole.status, 'completed')
  const final = await client.responses.stream(ask).finalResponse()
  assert.equal(final.output_text.split(' ').length, final.usage?.output_tokens)
})
