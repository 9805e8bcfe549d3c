// The AWS SDK for JavaScript as it comes, HTTP/2 handler included, with nothing changed but its endpoint.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  ApplyGuardrailCommand,
  BedrockRuntimeClient,
  type BedrockRuntimeClientConfig,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  CountTokensCommand,
  GetAsyncInvokeCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
  ListAsyncInvokesCommand,
  type Message,
  ResourceNotFoundException,
  StartAsyncInvokeCommand,
  ThrottlingException,
} from '@aws-sdk/client-bedrock-runtime'
import { AT_ONCE, assertCharged, CLAUDE, forgetAwsEnvironment, logged, startSimulated } from '../support/simulated.ts'
import { startTestSluice, type TestSluice } from '../support/sluice.ts'

const PROFILE_ARN = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456'
const CREDENTIALS = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' }
const BEARER = 'bedrock-api-key-of-the-client'
const HELLO: Message[] = [{ role: 'user', content: [{ text: 'Tell me about rivers, please.' }] }]
const CLAUDE_BODY = JSON.stringify({
  anthropic_version: 'bedrock-2023-05-31',
  max_tokens: 200,
  messages: [{ role: 'user', content: 'Tell me about rivers, please.' }],
})

function clientOf(sluice: TestSluice, auth: BedrockRuntimeClientConfig = { credentials: CREDENTIALS }) {
  return new BedrockRuntimeClient({ region: 'us-east-1', endpoint: sluice.url, ...auth })
}

async function collect<T>(stream: AsyncIterable<T> | undefined): Promise<T[]> {
  assert.ok(stream, 'the SDK found a stream')
  return Array.fromAsync(stream)
}

forgetAwsEnvironment()

/** Every way the SDK lets an app say who it is. */
const AUTHS: { title: string; user: RegExp; client: (sluice: TestSluice) => BedrockRuntimeClient }[] = [
  { title: 'SigV4', user: /^AKIDCLIENT$/, client: sluice => clientOf(sluice) },
  {
    title: 'bearer token in the client',
    user: /^key-\w+$/,
    client: sluice => clientOf(sluice, { token: { token: BEARER }, authSchemePreference: ['httpBearerAuth'] }),
  },
  {
    title: 'AWS_BEARER_TOKEN_BEDROCK',
    user: /^key-\w+$/,
    client: sluice => {
      process.env.AWS_BEARER_TOKEN_BEDROCK = BEARER
      return clientOf(sluice, {})
    },
  },
]

for (const { title, user, client: connect } of AUTHS) {
  describe(`the AWS SDK with ${title}`, () => {
    let sluice: TestSluice
    let client: BedrockRuntimeClient

    before(async () => {
      sluice = await startSimulated()
      client = connect(sluice)
    })
    after(async () => {
      delete process.env.AWS_BEARER_TOKEN_BEDROCK
      client.destroy()
      await sluice.stop(0)
    })

    test('Converse: text and usage, and the usage is what was charged', async () => {
      const { result, line } = await logged(sluice, () =>
        client.send(new ConverseCommand({ modelId: CLAUDE, messages: HELLO, inferenceConfig: { maxTokens: 200 } })),
      )
      assert.match(result.output!.message!.content![0]!.text!, /\w+/)
      assert.equal(result.stopReason, 'end_turn')
      assert.equal(result.$metadata.attempts, 1)
      const { inputTokens, outputTokens, totalTokens } = result.usage!
      assert.equal(totalTokens, inputTokens! + outputTokens!)
      assertCharged(line, { inputTokens: inputTokens!, outputTokens: outputTokens! })
      assert.match(String(line.user), user)
      assert.doesNotMatch(JSON.stringify(sluice.logged()), new RegExp(BEARER))
    })

    test('ConverseStream: the text comes in several events and the metadata is what was charged', async () => {
      const { result: events, line } = await logged(sluice, async () => {
        const { stream } = await client.send(new ConverseStreamCommand({ modelId: CLAUDE, messages: HELLO }))
        return collect(stream)
      })
      const texts = events.flatMap(event => event.contentBlockDelta?.delta?.text ?? [])
      assert.ok(texts.length > 1, `${texts.length} text events`)
      assert.match(texts.join(''), /\w+ \w+/)
      const { inputTokens, outputTokens } = events.at(-1)!.metadata!.usage!
      assertCharged(line, { inputTokens: inputTokens!, outputTokens: outputTokens! })
    })

    test('InvokeModel: the body comes back as the model wrote it', async () => {
      const { result, line } = await logged(sluice, () =>
        client.send(new InvokeModelCommand({ modelId: CLAUDE, body: CLAUDE_BODY, contentType: 'application/json' })),
      )
      assert.equal(result.contentType, 'application/json')
      const message = JSON.parse(result.body.transformToString())
      assert.match(message.content[0].text, /\w+/)
      assertCharged(line, { inputTokens: message.usage.input_tokens, outputTokens: message.usage.output_tokens })
    })

    test('InvokeModelWithResponseStream: chunks arrive apart, the last with the figures that were charged', async () => {
      const { result, line } = await logged(sluice, async () => {
        const command = new InvokeModelWithResponseStreamCommand({ modelId: CLAUDE, body: CLAUDE_BODY })
        const { body, contentType } = await client.send(command)
        return { contentType, chunks: await collect(body) }
      })
      assert.equal(result.contentType, 'application/json')
      const events = result.chunks.map(({ chunk }) => JSON.parse(Buffer.from(chunk!.bytes!).toString()))
      const texts = events.flatMap(event => event.delta?.text ?? [])
      assert.ok(texts.length > 1, `${texts.length} text events`)
      const metrics = events.at(-1)['amazon-bedrock-invocationMetrics']
      assertCharged(line, { inputTokens: metrics.inputTokenCount, outputTokens: metrics.outputTokenCount })
    })

    test('CountTokens: the count is what the same call is charged, and counting is free', async () => {
      const counted = await logged(sluice, () =>
        client.send(new CountTokensCommand({ modelId: CLAUDE, input: { converse: { messages: HELLO } } })),
      )
      const invoked = await client.send(
        new CountTokensCommand({ modelId: CLAUDE, input: { invokeModel: { body: Buffer.from(CLAUDE_BODY) } } }),
      )
      const { line } = await logged(sluice, () =>
        client.send(new ConverseCommand({ modelId: CLAUDE, messages: HELLO })),
      )
      assert.equal(counted.result.inputTokens, line.inputTokens)
      assert.equal(counted.line.chargedTokens, 0)
      assert.equal(invoked.inputTokens, counted.result.inputTokens)
    })

    test('ApplyGuardrail: an assessment comes back, and no quota is used', async () => {
      const { result, line } = await logged(sluice, () =>
        client.send(
          new ApplyGuardrailCommand({
            guardrailIdentifier: 'arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123',
            guardrailVersion: '1',
            source: 'INPUT',
            content: [{ text: { text: 'Is this all right?' } }],
          }),
        ),
      )
      assert.equal(result.action, 'NONE')
      assert.equal(line.operation, 'ApplyGuardrail')
      assert.equal(line.chargedTokens, 0)
    })

    test('StartAsyncInvoke, GetAsyncInvoke and ListAsyncInvokes: what was started is found again', async () => {
      const s3Uri = 's3://bucket/videos'
      const { result, line } = await logged(sluice, () =>
        client.send(
          new StartAsyncInvokeCommand({
            modelId: 'amazon.nova-reel-v1:0',
            modelInput: { taskType: 'TEXT_VIDEO', textToVideoParams: { text: 'A river' } },
            outputDataConfig: { s3OutputDataConfig: { s3Uri } },
          }),
        ),
      )
      assert.equal(line.operation, 'StartAsyncInvoke')
      const { invocationArn } = result
      const got = await client.send(new GetAsyncInvokeCommand({ invocationArn }))
      assert.equal(got.invocationArn, invocationArn)
      assert.equal(got.outputDataConfig!.s3OutputDataConfig!.s3Uri, s3Uri)
      const submitTimeAfter = new Date(got.submitTime!.getTime() - 60_000)
      const listed = await client.send(
        new ListAsyncInvokesCommand({ submitTimeAfter, maxResults: 5, sortBy: 'SubmissionTime' }),
      )
      assert.deepEqual(
        listed.asyncInvokeSummaries!.map(one => one.invocationArn),
        [invocationArn],
      )
    })

    test('a modelId that is an ARN with a slash stays one id', async () => {
      const { result, line } = await logged(sluice, () =>
        client.send(new ConverseCommand({ modelId: PROFILE_ARN, messages: HELLO })),
      )
      assert.match(result.output!.message!.content![0]!.text!, /\w+/)
      assertCharged(line, { inputTokens: result.usage!.inputTokens!, outputTokens: result.usage!.outputTokens! })
    })

    test('a tool is called and its result taken back', async () => {
      const json = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
      const tools = [{ toolSpec: { name: 'weather', description: 'The weather of a city', inputSchema: { json } } }]
      const first = await logged(sluice, () =>
        client.send(
          new ConverseCommand({
            modelId: CLAUDE,
            messages: HELLO,
            toolConfig: { tools, toolChoice: { tool: { name: 'weather' } } },
          }),
        ),
      )
      const { usage, stopReason, output } = first.result
      assert.equal(stopReason, 'tool_use')
      const { toolUse } = output!.message!.content!.find(block => block.toolUse)!
      assert.equal(toolUse!.name, 'weather')
      assert.equal(typeof (toolUse!.input as { city: unknown }).city, 'string')
      assertCharged(first.line, { inputTokens: usage!.inputTokens!, outputTokens: usage!.outputTokens! })
      const toolResult = { toolUseId: toolUse!.toolUseId, content: [{ json: { celsius: 21 } }] }
      const messages: Message[] = [...HELLO, output!.message!, { role: 'user', content: [{ toolResult }] }]
      const second = await client.send(new ConverseCommand({ modelId: CLAUDE, messages, toolConfig: { tools } }))
      assert.match(second.output!.message!.content![0]!.text!, /\w+/)
    })
  })
}

describe("Sluice's refusals as the AWS SDK decodes them", () => {
  async function refusal(yaml: string, headers: Record<string, string>, command: ConverseCommand) {
    const sluice = await startTestSluice(yaml)
    const client = clientOf(sluice, { credentials: CREDENTIALS, maxAttempts: 1 })
    client.middlewareStack.add(
      next => args => {
        Object.assign((args.request as { headers: Record<string, string> }).headers, headers)
        return next(args)
      },
      { step: 'build' },
    )
    try {
      const error = await client.send(command).then(
        () => assert.fail('the call was answered'),
        (thrown: BedrockRuntimeServiceException) => thrown,
      )
      const line = sluice.logged().findLast(one => one.msg === 'invocation')
      return { error, headers: error.$response!.headers, line }
    } finally {
      client.destroy()
      await sluice.stop(0)
    }
  }

  const oneClaude = (quotas: string) => `models:
  - name: claude
    modelIds: ["*claude*"]
    outputBurndown: 5
    pools: [{ name: only, region: us-east-1, endpoint: simulator${quotas} }]
${AT_ONCE}
`

  test('a model that no config entry matches is a ResourceNotFoundException', async () => {
    const { error } = await refusal(
      oneClaude(''),
      {},
      new ConverseCommand({ modelId: 'amazon.nova-pro-v1:0', messages: HELLO }),
    )
    assert.ok(error instanceof ResourceNotFoundException)
    assert.equal(error.$metadata.httpStatusCode, 404)
    assert.match(error.message, /amazon\.nova-pro-v1:0/)
    assert.ok(error.$metadata.requestId)
  })

  test('over quota it is a ThrottlingException, only after the wait the request allowed, with three hints', async () => {
    const { error, headers, line } = await refusal(
      oneClaude(', requestsPerMinute: 1'),
      { 'x-sluice-max-wait-ms': '200' },
      new ConverseCommand({ modelId: CLAUDE, messages: HELLO }),
    )
    assert.ok(error instanceof ThrottlingException)
    assert.equal(error.$metadata.httpStatusCode, 429)
    assert.equal(error.$metadata.attempts, 1)
    assert.equal(headers['x-sluice-refusal'], 'wait-timeout')
    assert.ok(Number(line!.waitMs) >= 195, `waited ${line!.waitMs} ms`)
    const hintMs = Number(headers['retry-after-ms'])
    assert.ok(hintMs > 0)
    assert.equal(Number(headers['x-amz-retry-after']), hintMs)
    assert.equal(Number(headers['retry-after']), Math.ceil(hintMs / 1000))
  })

  test('a request larger than the quota is a ServiceQuotaExceededException, which is not retried', async () => {
    const { error, headers } = await refusal(
      oneClaude(', tokensPerMinute: 1000'),
      {},
      new ConverseCommand({ modelId: CLAUDE, messages: HELLO, inferenceConfig: { maxTokens: 5000 } }),
    )
    assert.equal(error.name, 'ServiceQuotaExceededException')
    assert.equal(error.$metadata.httpStatusCode, 400)
    assert.match(error.message, /more than the largest tokens-per-minute quota of the model, 1000/)
    assert.equal(headers['retry-after'], undefined)
  })
})
