// Keys as people use them: the SDKs as they come, with a Sluice key where they take one, on real sockets.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeClientConfig,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  CountTokensCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import OpenAI from 'openai'
import { keySha256 } from '../../src/identity/keys.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { setOutage } from '../support/outage.ts'
import { invocations, settledAfter, statusOf } from '../support/settled.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import {
  assertRefusal,
  type Call,
  call,
  callHttp1,
  HELLO,
  PROTOCOLS,
  until,
  useTestCredentials,
} from '../support/wire.ts'

const WEB = `sluice_${'w'.repeat(43)}`
const BATCH = `sluice_${'b'.repeat(43)}`
const WRONG = `sluice_${'x'.repeat(43)}`
const UNKNOWN = { status: 403, exception: 'UnrecognizedClientException', code: 'unknown-key' }
const NONE = { status: 403, exception: 'MissingAuthenticationTokenException', code: 'no-credentials' }
const OF_WEB = ['web', `key-${keySha256(WEB).slice(0, 12)}`]
const OF_BATCH = ['batch', `key-${keySha256(BATCH).slice(0, 12)}`]
const ASK = { modelId: CLAUDE, messages: [{ role: 'user' as const, content: [{ text: 'Rivers, please.' }] }] }

/** `web` and `batch`, each with a key; `extra` are more settings of `web`. */
function clients(extra = '', failures = 1_000_000): string {
  return `auth: { mode: keys }
# Wrong keys are tried on purpose.
ingress: { failedIdentitiesPerMinute: ${failures} }
clients:
  - { name: web, keySha256: ${keySha256(WEB)}${extra} }
  - { name: batch, keySha256: ["${keySha256(BATCH)}"] }`
}

type Teardown = { after(task: () => Promise<void>): void }

async function start(t: Teardown, yaml: string): Promise<TestSluice> {
  const sluice = await startTestSluice(yaml)
  t.after(async () => {
    await sluice.stop(0)
  })
  return sluice
}

let sluice: TestSluice
before(async () => {
  forgetAwsEnvironment()
  sluice = await startTestSluice(oneModel('simulator', '', `${AT_ONCE}\n${clients()}`))
})
after(async () => {
  await sluice.stop(0)
})

/** Whose call it was, as the log has it. */
async function flowOf(use: () => Promise<unknown>): Promise<[unknown, unknown]> {
  const [line] = (await settledAfter(sluice, 1, async () => void (await use()))) as unknown as Record<string, unknown>[]
  return [line!.client, line!.user]
}

const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })

for (const [handler, config] of [
  ['HTTP/2, its default', {}],
  ['HTTP/1.1', { requestHandler: new NodeHttpHandler() }],
] as [string, BedrockRuntimeClientConfig][]) {
  test(`the AWS SDK over ${handler}: AWS_BEARER_TOKEN_BEDROCK is all it needs`, async t => {
    process.env.AWS_BEARER_TOKEN_BEDROCK = WEB
    t.after(() => delete process.env.AWS_BEARER_TOKEN_BEDROCK)
    const client = new BedrockRuntimeClient({ region: 'us-east-1', endpoint: sluice.url, maxAttempts: 1, ...config })
    t.after(() => client.destroy())
    assert.deepEqual(await flowOf(() => client.send(new ConverseCommand(ASK))), OF_WEB)
    const streamed = async () => {
      const { stream } = await client.send(new ConverseStreamCommand(ASK))
      for await (const _event of stream!);
    }
    assert.deepEqual(await flowOf(streamed), OF_WEB)
    const input = { converse: { messages: ASK.messages } }
    assert.deepEqual(await flowOf(() => client.send(new CountTokensCommand({ modelId: CLAUDE, input }))), OF_WEB)
  })

  test(`the AWS SDK over ${handler}: a wrong key is the exception it knows from Bedrock, and is not retried`, async t => {
    const token = { token: WRONG }
    const client = new BedrockRuntimeClient({
      region: 'us-east-1',
      endpoint: sluice.url,
      token,
      authSchemePreference: ['httpBearerAuth'],
      ...config,
    })
    t.after(() => client.destroy())
    const error: BedrockRuntimeServiceException = await client.send(new ConverseCommand(ASK)).then(
      () => assert.fail('it was let in'),
      thrown => thrown,
    )
    assert.equal(error.name, 'UnrecognizedClientException')
    assert.equal(error.message, 'The security token included in the request is invalid.')
    assert.equal(error.$metadata.httpStatusCode, 403)
    assert.equal(error.$metadata.attempts, 1)
  })
}

test('OpenAI’s SDK sends its apiKey as bearer', async () => {
  const client = (apiKey: string) => new OpenAI({ baseURL: `${sluice.url}/openai/v1`, apiKey })
  const ask = { model: 'openai.gpt-oss-120b-1:0', messages: [{ role: 'user' as const, content: 'Hello' }] }
  assert.deepEqual(await flowOf(() => client(BATCH).chat.completions.create(ask)), OF_BATCH)
  const error = await client(WRONG)
    .chat.completions.create(ask)
    .catch((thrown: unknown) => thrown)
  assert.ok(error instanceof OpenAI.PermissionDeniedError)
  assert.match(error.message, /security token included in the request is invalid/)
  assert.equal(error.code, 'UnrecognizedClientException')
})

test('Anthropic’s SDK sends its apiKey as x-api-key, and its authToken as bearer, which wins', async () => {
  const ask = { model: CLAUDE, max_tokens: 50, messages: [{ role: 'user' as const, content: 'Hello' }] }
  const baseURL = `${sluice.url}/anthropic`
  const client = (keys: object) => new Anthropic({ baseURL, ...keys })
  assert.deepEqual(await flowOf(() => client({ apiKey: WEB }).messages.create(ask)), OF_WEB)
  assert.deepEqual(await flowOf(() => client({ authToken: BATCH }).messages.create(ask)), OF_BATCH)
  const both = client({ apiKey: WEB, defaultHeaders: { authorization: `Bearer ${BATCH}` } })
  assert.deepEqual(await flowOf(() => both.messages.create(ask)), OF_BATCH)
  const error = await client({ apiKey: WRONG })
    .messages.create(ask)
    .catch((thrown: unknown) => thrown)
  assert.ok(error instanceof Anthropic.PermissionDeniedError)
})

test('x-sluice-user names the users of a key, and the log still says which key it was', async () => {
  const headers = { 'x-api-key': WEB, 'x-sluice-user': 'ann' }
  assert.deepEqual(await flowOf(() => callHttp1(sluice.url, { headers })), ['web', 'ann'])
  const line = sluice.logged().findLast(one => one.msg === 'invocation')!
  assert.equal(line.credential, OF_WEB[1])
})

const ROUTES: Call[] = [
  ...['converse', 'converse-stream', 'invoke', 'invoke-with-response-stream', 'count-tokens'].map(operation => ({
    path: `/model/any/${operation}`,
  })),
  { path: '/openai/v1/chat/completions' },
  { path: '/openai/v1/responses' },
  { path: '/anthropic/v1/messages' },
  { path: '/async-invoke' },
  { method: 'GET', path: '/async-invoke' },
  { method: 'GET', path: '/async-invoke/arn' },
  { path: '/guardrail/abc/version/1/apply' },
  { path: '/guardrail-checks/invoke' },
  { method: 'GET', path: '/inference-profiles' },
  { method: 'GET', path: '/inference-profiles/abc' },
]

for (const protocol of PROTOCOLS) {
  test(`${protocol}: every route of Bedrock asks who it is, those that cost nothing included`, async () => {
    const before = invocations(sluice).length
    for (const route of ROUTES) {
      const what = `${route.method ?? 'POST'} ${route.path}`
      const message = assertRefusal(await call(protocol, sluice.url, route), NONE)
      assert.match(message, /^Missing Authentication Token/, what)
      const wrong = await call(protocol, sluice.url, { ...route, ...bearer(WRONG) })
      assert.equal(assertRefusal(wrong, UNKNOWN), 'The security token included in the request is invalid.', what)
      assert.equal(wrong.headers['retry-after'], undefined)
    }
    assert.equal(invocations(sluice).length, before, 'none reached the gateway')
  })
}

test('operations routes stay as they are: what stands in front closes them', async () => {
  for (const path of ['/healthz', '/readyz', '/metrics', '/status'])
    assert.equal((await callHttp1(sluice.url, { method: 'GET', path })).status, 200, path)
})

test('a key is in no log line, metric, status, error, and not in what Bedrock is sent', async t => {
  useTestCredentials()
  t.after(() => forgetAwsEnvironment())
  const bedrock = await startFakeBedrock((_request, response) => response.writeHead(500).end('{"message":"no"}'))
  t.after(() => bedrock.close())
  const own = await start(t, oneModel(bedrock.url, '', `retries: { maxAttempts: 1 }\n${clients()}`))
  const replies = [
    await callHttp1(own.url, bearer(WEB)),
    await callHttp1(own.url, { headers: { 'x-api-key': WEB } }),
    await callHttp1(own.url, { headers: { authorization: `Bearer ${BATCH}`, 'x-api-key': WEB } }),
    await callHttp1(own.url, bearer(WRONG)),
    await callHttp1(own.url, { headers: { 'x-api-key': WRONG } }),
    await callHttp1(own.url, { method: 'GET', path: '/metrics' }),
    await callHttp1(own.url, { method: 'GET', path: '/status' }),
  ]
  await until(async () => (await statusOf(own)).inFlight === 0, 'nothing in flight')
  assert.ok(bedrock.seen.length >= 3)
  const written = JSON.stringify([
    replies.map(reply => [reply.headers, reply.body.toString()]),
    own.logged(),
    bedrock.seen.map(one => [one.headers, one.body.toString()]),
  ])
  assert.match(written, /"client":"web"/)
  for (const key of [WEB, BATCH, WRONG]) {
    assert.ok(!written.includes(key.slice(7, 27)))
    assert.ok(!written.includes(keySha256(key).slice(0, 16)))
  }
})

test('a client’s own limits and models are its own', async t => {
  const own = await start(t, oneModel('simulator', '', `${AT_ONCE}\n${clients(', limits: { requestsPerMinute: 1 }')}`))
  assert.equal((await callHttp1(own.url, bearer(WEB))).status, 200)
  const refused = await callHttp1(own.url, bearer(WEB))
  assert.deepEqual([refused.status, refused.headers['x-sluice-refusal']], [429, 'client-limit'])
  const other = await callHttp1(own.url, bearer(BATCH))
  assert.deepEqual([other.status, other.headers.ratelimit], [200, undefined])
})

test('clients wait in lines of their own, and /status shows each by its name and weight', async t => {
  const own = await start(t, oneModel('simulator', 'requestsPerMinute: 6', `${AT_ONCE}\n${clients(', weight: 3')}`))
  const waiting = [WEB, WEB, BATCH].map(key => callHttp1(own.url, bearer(key)).catch(() => undefined))
  const classes = async () => (await statusOf(own)).models[0]!.classes.find(one => one.priority === 'normal')!
  await until(async () => (await classes()).waiting === 3, 'three wait')
  const lines = (await classes()).clients.map(({ client, weight, waiting }) => ({ client, weight, waiting }))
  assert.deepEqual(
    lines.toSorted((a, b) => b.weight - a.weight),
    [
      { client: 'web', weight: 3, waiting: 2 },
      { client: 'batch', weight: 1, waiting: 1 },
    ],
  )
  await own.stop(0)
  await Promise.all(waiting)
})

/** Answers each call with its own number once it is let go. */
async function startHolding(t: Teardown): Promise<{ bedrock: FakeBedrock; letGo(): void }> {
  let held: (() => void)[] = []
  const bedrock = await startFakeBedrock((_request, response) => {
    const text = `answer ${bedrock.seen.length}`
    held.push(() =>
      response.end(
        `{"output":{"message":{"role":"assistant","content":[{"text":"${text}"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`,
      ),
    )
  })
  t.after(() => bedrock.close())
  const letGo = () => {
    for (const answer of held) answer()
    held = []
  }
  return { bedrock, letGo }
}

for (const [scope, calls] of [
  ['client', 2],
  ['shared', 1],
] as const) {
  test(`coalesce: ${scope}: of two clients that ask the same at once ${calls === 1 ? 'both share one call' : 'neither gets the other’s answer'}`, async t => {
    useTestCredentials()
    t.after(() => forgetAwsEnvironment())
    const { bedrock, letGo } = await startHolding(t)
    const own = await start(t, oneModel(bedrock.url, '', `    coalesce: ${scope}\n${clients()}`))
    const asked = [WEB, WEB, BATCH].map(key => callHttp1(own.url, bearer(key)))
    await until(async () => bedrock.seen.length === calls && (await statusOf(own)).inFlight === 3, 'all are in flight')
    letGo()
    const [one, two, other] = (await Promise.all(asked)).map(reply => reply.body.toString())
    assert.match(one!, /answer \d/)
    assert.equal(one, two)
    if (calls === 1) assert.equal(other, one)
    else assert.notEqual(other, one)
  })
}

test('a kept answer is given again to the client whose it was, and to no other', async t => {
  const own = await start(t, oneModel('simulator', '', `    fallback: [stale]\n${AT_ONCE}\n${clients()}`))
  const first = await callHttp1(own.url, bearer(WEB))
  assert.equal(first.status, 200)
  await until(async () => (await statusOf(own)).inFlight === 0, 'it is kept')
  await setOutage(own, true)
  const again = await callHttp1(own.url, bearer(WEB))
  assert.deepEqual([again.status, again.headers['x-sluice-fallback']], [200, 'stale'])
  assert.equal(again.body.toString(), first.body.toString())
  const other = await callHttp1(own.url, { ...bearer(BATCH), body: HELLO })
  assert.ok(other.status >= 500, `${other.status}`)
  assert.equal(other.headers['x-sluice-fallback'], undefined)
})
