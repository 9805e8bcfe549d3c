// Streams stay streams: what Bedrock has written, the client has, however long the rest takes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BedrockRuntimeClient, ConverseStreamCommand } from '@aws-sdk/client-bedrock-runtime'
import { EventStreamCodec } from '@smithy/core/event-streams'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { assertCharged, CLAUDE, forgetAwsEnvironment, logged } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'

const codec = new EventStreamCodec(
  bytes => Buffer.from(bytes).toString(),
  text => Buffer.from(text),
)

function frame(type: string, payload: object): Uint8Array {
  const string = (value: string) => ({ type: 'string' as const, value })
  return codec.encode({
    headers: {
      ':event-type': string(type),
      ':content-type': string('application/json'),
      ':message-type': string('event'),
    },
    body: Buffer.from(JSON.stringify(payload)),
  })
}

const REST = [
  frame('messageStop', { stopReason: 'end_turn' }),
  frame('metadata', { usage: { inputTokens: 7, outputTokens: 3, totalTokens: 10 }, metrics: { latencyMs: 5 } }),
]

let bedrock: FakeBedrock
let sluice: TestSluice
let client: BedrockRuntimeClient
/** Set by the client once it has read the first event; nothing more is written before. */
let writeRest: () => void = () => assert.fail('the client read before Bedrock wrote')

before(async () => {
  forgetAwsEnvironment()
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIDSLUICE', AWS_SECRET_ACCESS_KEY: 'secret-of-sluice' })
  bedrock = await startFakeBedrock((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    response.write(frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'Water ' } }))
    writeRest = () => response.end(Buffer.concat(REST))
  })
  sluice = await startTestSluice(oneModel(bedrock.url))
  client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: sluice.url,
    credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
  })
})

after(async () => {
  client.destroy()
  await sluice.stop(0)
  await bedrock.close()
})

test('the first event reaches the AWS SDK while Bedrock has not written the second', { timeout: 20_000 }, async () => {
  const { result, line } = await logged(sluice, async () => {
    const { stream } = await client.send(new ConverseStreamCommand({ modelId: CLAUDE, messages: [] }))
    const kinds: string[] = []
    for await (const event of stream!) {
      kinds.push(...Object.keys(event))
      if (event.contentBlockDelta) writeRest()
    }
    return kinds
  })
  assert.deepEqual(result, ['contentBlockDelta', 'messageStop', 'metadata'])
  assertCharged(line, { inputTokens: 7, outputTokens: 3 })
})
