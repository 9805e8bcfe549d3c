// Apps that sign as always, with an access key of Sluice's: the SDKs as they come, over HTTP/1.1 and HTTP/2.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeClientConfig,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  CountTokensCommand,
  ListAsyncInvokesCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { parseConfig } from '../../src/config/load.ts'
import { readSecrets } from '../../src/config/secrets.ts'
import { newSigningKey } from '../../src/identity/keys.ts'
import { invocations, settledAfter } from '../support/settled.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'

const WEB = newSigningKey(randomBytes)
const BATCH = newSigningKey(randomBytes)
const ARN = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456'
const messages = [{ role: 'user' as const, content: [{ text: 'Flüsse, please — “long” ones.' }] }]

let sluice: TestSluice
let folder: string

function yaml(secretFile: string): string {
  return oneModel(
    'simulator',
    '',
    `${AT_ONCE}
auth: { mode: keys }
ingress: { failedIdentitiesPerMinute: 1000000 }
clients:
  - { name: web, sigv4: { accessKeyId: ${WEB.accessKeyId}, secretEnv: SECRET_OF_WEB } }
  - { name: batch, sigv4: [{ accessKeyId: ${BATCH.accessKeyId}, secretFile: "${secretFile}" }] }`,
  )
}

before(async () => {
  forgetAwsEnvironment()
  folder = mkdtempSync(join(tmpdir(), 'sluice-sigv4-'))
  writeFileSync(join(folder, 'secret'), `${BATCH.secret}\n`)
  process.env.SECRET_OF_WEB = WEB.secret
  sluice = await startTestSluice(yaml(join(folder, 'secret')))
})
after(async () => {
  delete process.env.SECRET_OF_WEB
  await sluice.stop(0)
  rmSync(folder, { recursive: true })
})

async function clientOf(use: () => Promise<unknown>): Promise<unknown> {
  const [line] = (await settledAfter(sluice, 1, async () => void (await use()))) as unknown as Record<string, unknown>[]
  return line!.client
}

function sdk(t: { after(task: () => void): void }, key: typeof WEB, config: BedrockRuntimeClientConfig = {}) {
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: sluice.url,
    credentials: { accessKeyId: key.accessKeyId, secretAccessKey: key.secret },
    maxAttempts: 1,
    ...config,
  })
  t.after(() => client.destroy())
  return client
}

const HANDLERS: [string, BedrockRuntimeClientConfig][] = [
  ['HTTP/2, its default', {}],
  ['HTTP/1.1', { requestHandler: new NodeHttpHandler() }],
]
for (const [handler, config] of HANDLERS) {
  test(`the AWS SDK over ${handler} signs with a key of Sluice’s, from a variable or a file`, async t => {
    const web = sdk(t, WEB, config)
    const batch = sdk(t, BATCH, config)
    assert.equal(await clientOf(() => web.send(new ConverseCommand({ modelId: CLAUDE, messages }))), 'web')
    assert.equal(await clientOf(() => batch.send(new ConverseCommand({ modelId: CLAUDE, messages }))), 'batch')
    const streamed = async () => {
      const { stream } = await web.send(new ConverseStreamCommand({ modelId: CLAUDE, messages }))
      for await (const _event of stream!);
    }
    assert.equal(await clientOf(streamed), 'web')
  })

  test(`the AWS SDK over ${handler}: an id with slash and colons, a query, and calls that cost nothing`, async t => {
    const web = sdk(t, WEB, config)
    assert.equal(await clientOf(() => web.send(new ConverseCommand({ modelId: ARN, messages }))), 'web')
    const input = { converse: { messages } }
    assert.equal(await clientOf(() => web.send(new CountTokensCommand({ modelId: CLAUDE, input }))), 'web')
    const submitTimeAfter = new Date(Date.now() - 60_000)
    const list = new ListAsyncInvokesCommand({ submitTimeAfter, maxResults: 5, sortBy: 'SubmissionTime' })
    assert.equal(await clientOf(() => web.send(list)), 'web')
  })

  test(`the AWS SDK over ${handler}: a wrong secret is an InvalidSignatureException, an unknown id an UnrecognizedClientException`, async t => {
    const before = invocations(sluice).length
    const thrown = (key: typeof WEB): Promise<BedrockRuntimeServiceException> =>
      sdk(t, key, config)
        .send(new ConverseCommand({ modelId: CLAUDE, messages }))
        .then(
          () => assert.fail('it was let in'),
          error => error,
        )
    const wrong = await thrown({ ...WEB, secret: BATCH.secret })
    assert.deepEqual([wrong.name, wrong.$metadata.httpStatusCode], ['InvalidSignatureException', 403])
    const unknown = await thrown(newSigningKey(randomBytes))
    assert.deepEqual([unknown.name, unknown.$metadata.httpStatusCode], ['UnrecognizedClientException', 403])
    for (const error of [wrong, unknown]) assert.ok(!error.message.includes(WEB.secret))
    assert.equal(invocations(sluice).length, before)
  })
}

test('Anthropic’s SDK for Bedrock signs with a key of Sluice’s', async () => {
  const client = new AnthropicBedrock({
    baseURL: sluice.url,
    awsRegion: 'us-east-1',
    awsAccessKey: WEB.accessKeyId,
    awsSecretKey: WEB.secret,
    maxRetries: 0,
  })
  const ask = { model: CLAUDE, max_tokens: 50, messages: [{ role: 'user' as const, content: 'Hello' }] }
  assert.equal(await clientOf(() => client.messages.create(ask)), 'web')
})

test('a reload takes an access key away, and gives another its new secret', async t => {
  const own = await startTestSluice(yaml(join(folder, 'secret')))
  t.after(async () => void (await own.stop(0)))
  const status = (key: typeof WEB) =>
    sdk(t, key, { endpoint: own.url })
      .send(new CountTokensCommand({ modelId: CLAUDE, input: { converse: { messages } } }))
      .then(
        () => 200,
        (error: BedrockRuntimeServiceException) => error.name,
      )
  assert.deepEqual([await status(WEB), await status(BATCH)], [200, 200])
  const secret = newSigningKey(randomBytes).secret
  const text = yaml(join(folder, 'secret')).replace(/^.*name: web.*$/m, '')
  const parsed = parseConfig(text, 'test.yaml', { PORT: '0', HOST: '127.0.0.1' })
  assert.ok(parsed.kind === 'ok')
  const found = readSecrets(parsed.config, { variables: {}, read: () => secret })
  assert.ok(found.kind === 'ok')
  own.reload(parsed.config, found.secrets)
  assert.deepEqual(
    [await status(WEB), await status(BATCH), await status({ ...BATCH, secret })],
    ['UnrecognizedClientException', 'InvalidSignatureException', 200],
  )
})
