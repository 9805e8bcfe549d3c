// A client's own limits as its SDK sees them: through the whole program, on real sockets, in memory and over Redis.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  AccessDeniedException,
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  ThrottlingException,
} from '@aws-sdk/client-bedrock-runtime'
import { parseConfig } from '../../src/config/load.ts'
import { setOutage } from '../support/outage.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { settledAfter } from '../support/settled.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { type Call, callHttp1, callHttp2, HELLO, type Reply, until } from '../support/wire.ts'

const ASK = { modelId: CLAUDE, messages: [{ role: 'user' as const, content: [{ text: 'Rivers, please.' }] }] }
const CAPPED = { ...ASK, inferenceConfig: { maxTokens: 100 } }

let redis: TestRedis
before(async () => {
  forgetAwsEnvironment()
  redis = await startRedis()
})
after(() => redis.stop())

function yamlOf(limits: string, rest = ''): string {
  return oneModel('simulator', '', `${AT_ONCE}\nclients: [{ name: open, limits: ${limits} }]\n${rest}`)
}

type Headers = Record<string, string>

/** The SDK without retries, and the headers of all it was answered. */
function sdk(t: { after(task: () => void): void }, sluice: TestSluice) {
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: sluice.url,
    credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    maxAttempts: 1,
  })
  t.after(() => client.destroy())
  const seen: Headers[] = []
  client.middlewareStack.add(
    next => async args => {
      const result = await next(args)
      seen.push((result.response as { headers: Headers }).headers)
      return result
    },
    { step: 'deserialize', priority: 'low' },
  )
  return { client, seen }
}

async function start(t: { after(task: () => Promise<void>): void }, yaml: string): Promise<TestSluice> {
  const sluice = await startTestSluice(yaml)
  t.after(async () => {
    await sluice.stop(0)
  })
  return sluice
}

for (const store of ['memory', 'redis'] as const) {
  const shared = () => (store === 'redis' ? `redis: { url: "${redis.url}" }` : '')

  test(`${store}: over its limit the SDK sees a ThrottlingException at once, with three honest hints`, async t => {
    const limits = '{ requestsPerMinute: 2, tokensPerMinute: 5000, algorithm: sliding-window-log }'
    const sluice = await start(t, yamlOf(limits, shared()))
    const { client, seen } = sdk(t, sluice)
    const { usage } = await client.send(new ConverseCommand(CAPPED))
    const { stream } = await client.send(new ConverseStreamCommand(CAPPED))
    for await (const _event of stream!);
    const error = await client.send(new ConverseCommand(CAPPED)).catch(error => error)
    assert.ok(error instanceof ThrottlingException)
    assert.match(error.message, /^Too many requests, please wait before trying again\./)
    assert.equal(error.$metadata.httpStatusCode, 429)
    const [first, second, refused] = seen as [Headers, Headers, Headers]
    assert.equal(refused['x-sluice-refusal'], 'client-limit')
    const hintMs = Number(refused['retry-after-ms'])
    assert.ok(hintMs > 50_000 && hintMs <= 60_000, `${hintMs} ms`)
    assert.equal(Number(refused['x-amz-retry-after']), hintMs)
    assert.equal(Number(refused['retry-after']), Math.ceil(hintMs / 1000))
    for (const headers of seen) assert.equal(headers['ratelimit-policy'], '"requests";q=2;w=60')
    assert.match(first.ratelimit!, /^"requests";r=1;t=60, "tokens";r=48\d\d;t=60;sluice-q=5000$/)
    assert.match(second.ratelimit!, /^"requests";r=0;t=60, "tokens";r=4\d\d\d;t=60;sluice-q=5000$/)
    assert.match(refused.ratelimit!, /^"requests";r=0;t=(60|5\d), "tokens";r=4\d\d\d;t=(60|5\d);sluice-q=5000$/)
    // The first call reserved its cap and was charged its use: that is what is left when the second is priced.
    const charged = usage!.inputTokens! + usage!.outputTokens! * 5
    const leftOf = (headers: Headers) => Number(/"tokens";r=(\d+)/.exec(headers.ratelimit!)![1])
    const reserved = 5000 - leftOf(first)
    assert.ok(Math.abs(5000 - charged - reserved - leftOf(second)) <= 5, `${leftOf(second)} left`)
    const metrics = (await callHttp1(sluice.url, { method: 'GET', path: '/metrics' })).body.toString()
    assert.match(metrics, /sluice_client_limit_refusals_total\{client="open",limit="requests"\} 1/)
    assert.match(metrics, /sluice_refusals_total\{model="any",operation="Converse",code="client-limit"\} 1/)
  })

  test(`${store}: all calls in flight together are bounded, over HTTP/1.1 and HTTP/2`, async t => {
    const slow = 'simulator: { latency: { firstTokenMs: 60000, perTokenMs: 0, jitter: 0 } }'
    const yaml = oneModel('simulator', '', `${slow}\nclients: [{ name: open, limits: { concurrent: 2 } }]\n${shared()}`)
    const sluice = await start(t, yaml)
    const ready = async () =>
      JSON.parse((await callHttp1(sluice.url, { method: 'GET', path: '/readyz' })).body.toString())
    await until(async () => (await ready()).status === 'ready', 'it is ready', 10_000)
    const held = [callHttp1(sluice.url), callHttp2(sluice.url)].map(call => call.catch(() => undefined))
    const inFlight = async () =>
      JSON.parse((await callHttp1(sluice.url, { method: 'GET', path: '/status' })).body.toString())
    await until(async () => (await inFlight()).models[0].inFlight === 2, 'two are in flight', 10_000)
    for (const call of [callHttp1, callHttp2] as ((url: string, what?: Call) => ReturnType<typeof callHttp1>)[]) {
      const refused = await call(sluice.url)
      assert.equal(refused.status, 429)
      assert.equal(refused.headers['x-sluice-refusal'], 'client-limit')
      assert.equal(refused.headers['retry-after-ms'], '1000')
      assert.equal(refused.headers['ratelimit-policy'], '"concurrent";q=2;qu="concurrent-requests"')
      assert.equal(refused.headers.ratelimit, '"concurrent";r=0')
    }
    await sluice.stop(0)
    await Promise.all(held)
  })
}

const LEVEL = /^"requests";r=(\d+);t=\d+, "tokens";r=(\d+);t=\d+;sluice-q=5000$/

/** What is left of requests and tokens, as an answer tells. */
function leftOf({ headers }: Reply): [requests: number, tokens: number] {
  assert.equal(headers['ratelimit-policy'], '"requests";q=10;w=60')
  const [, requests, tokens] = LEVEL.exec(String(headers.ratelimit)) ?? assert.fail(`${headers.ratelimit}`)
  return [Number(requests), Number(tokens)]
}

const TEN = '{ requestsPerMinute: 10, tokensPerMinute: 5000, algorithm: sliding-window-log }'
/** Costs a request and no tokens. */
const COUNT: Call = { path: '/model/any/count-tokens', body: `{"input":{"converse":${HELLO}}}` }

test('whoever follows another’s call is told its level too, and has used a request and no tokens', async t => {
  const slowly = 'simulator: { latency: { firstTokenMs: 1000, perTokenMs: 0, jitter: 0 } }'
  const yaml = oneModel('simulator', '', `    coalesce: client\n${slowly}\nclients: [{ name: open, limits: ${TEN} }]`)
  const sluice = await start(t, yaml)
  let answers: Reply[] = []
  const lines = await settledAfter(sluice, 3, async () => {
    answers = await Promise.all([callHttp1(sluice.url), callHttp2(sluice.url), callHttp1(sluice.url)])
  })
  assert.equal(answers.filter(({ headers }) => headers['x-sluice-coalesced'] === 'true').length, 2)
  // Each was told as it came: of the reservations of all.
  assert.deepEqual(answers.map(answer => leftOf(answer)[0]).toSorted(), [7, 8, 9])
  const charged = lines.reduce((sum, line) => sum + line.chargedTokens, 0)
  assert.ok(charged > 0)
  assert.deepEqual(leftOf(await callHttp1(sluice.url, COUNT)), [6, 5000 - charged])
})

test('a kept answer and a mock tell the level too, and have used a request and what the call that failed cost', async t => {
  const fallback = '    fallback: [stale, mock]\n    mockText: Later.'
  const yaml = oneModel('simulator', '', `${fallback}\n${AT_ONCE}\nclients: [{ name: open, limits: ${TEN} }]`)
  const sluice = await start(t, yaml)
  const [first] = await settledAfter(sluice, 1, async () => {
    await callHttp1(sluice.url)
  })
  let charged = first!.chargedTokens
  assert.ok(charged > 0)
  await setOutage(sluice, true)
  for (const [kind, requests, body] of [
    ['stale', 8, HELLO],
    ['mock', 7, HELLO.replace('hello', 'good day')],
  ] as const) {
    let answer: Reply | undefined
    const [line] = await settledAfter(sluice, 1, async () => {
      answer = await callHttp1(sluice.url, { body })
    })
    assert.deepEqual([answer!.status, answer!.headers['x-sluice-fallback']], [200, kind])
    const [requestsLeft, tokensLeft] = leftOf(answer!)
    assert.equal(requestsLeft, requests)
    assert.equal(tokensLeft, 5000 - charged - line!.reservedTokens, 'its own reservation stood when it was told')
    charged += line!.chargedTokens
  }
  await setOutage(sluice, false)
  assert.deepEqual(leftOf(await callHttp1(sluice.url, COUNT)), [6, 5000 - charged])
})

test('a request without an output cap reserves the one that Sluice gives it', async t => {
  const sized = oneModel('simulator', '', `    outputCap: { mode: fixed, tokens: 100 }\n${AT_ONCE}`)
  const yaml = `${sized.replace('maxOutputTokens: 1000', 'maxOutputTokens: 64000')}\nclients: [{ name: open, limits: ${TEN} }]`
  const sluice = await start(t, yaml)
  const uncapped = HELLO.replace('"maxTokens":10', '')
  const answer = await callHttp1(sluice.url, { body: uncapped })
  assert.deepEqual([answer.status, answer.headers['x-sluice-output-cap']], [200, '100'])
  const [, tokens] = leftOf(answer)
  assert.ok(tokens > 4850 && tokens < 4900, `${tokens} tokens left`)
  // One that cannot be given a cap reserves the most that the model answers.
  const prompt = '/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aprompt%2FABCDEFGHIJ%3A1/converse'
  const refused = await callHttp1(sluice.url, { path: prompt, body: uncapped })
  assert.deepEqual([refused.status, refused.headers['x-sluice-refusal']], [400, 'cannot-fit'])
})

test('a model that is not among the client’s is an AccessDeniedException', async t => {
  const yaml = `models:
  - { name: haiku, modelIds: ["*haiku*"], maxOutputTokens: 100, pools: [{ name: a, region: us-east-1, endpoint: simulator }] }
  - { name: sonnet, modelIds: ["*"], maxOutputTokens: 100, pools: [{ name: b, region: us-east-1, endpoint: simulator }] }
clients: [{ name: open, limits: { models: [haiku] } }]
${AT_ONCE}`
  const sluice = await start(t, yaml)
  const { client, seen } = sdk(t, sluice)
  await client.send(new ConverseCommand({ ...CAPPED, modelId: 'us.anthropic.claude-haiku-4-5-20251001-v1:0' }))
  const error = await client.send(new ConverseCommand(CAPPED)).catch(error => error)
  assert.ok(error instanceof AccessDeniedException)
  assert.equal(error.$metadata.httpStatusCode, 403)
  assert.equal(seen[1]!['x-sluice-refusal'], 'model-not-allowed')
  assert.equal(seen[1]!['retry-after'], undefined)
  assert.equal(seen[1]!['ratelimit-policy'], undefined)
})

test('a reload changes, adds and takes away limits at once', async t => {
  const sluice = await start(t, oneModel('simulator', '', AT_ONCE))
  const reload = (yaml: string) => {
    const parsed = parseConfig(yaml, 'test.yaml', { PORT: '0', HOST: '127.0.0.1' })
    assert.ok(parsed.kind === 'ok')
    assert.deepEqual(sluice.reload(parsed.config), [])
  }
  const statuses = async (calls: number) => {
    const replies = []
    for (let i = 0; i < calls; i++) replies.push(await callHttp1(sluice.url))
    return replies.map(({ status }) => status)
  }
  const plain = await callHttp1(sluice.url)
  assert.deepEqual(
    [plain.status, plain.headers.ratelimit, plain.headers['ratelimit-policy']],
    [200, undefined, undefined],
  )
  reload(yamlOf('{ requestsPerMinute: 1 }'))
  assert.deepEqual(await statuses(2), [200, 429])
  reload(yamlOf('{ requestsPerMinute: 3 }'))
  assert.deepEqual(await statuses(3), [200, 200, 429])
  reload(oneModel('simulator', '', AT_ONCE))
  assert.deepEqual(await statuses(2), [200, 200])
  // Taken away is forgotten: it begins with nothing used.
  reload(yamlOf('{ requestsPerMinute: 1 }'))
  assert.deepEqual(await statuses(2), [200, 429])
})
