// Failures of Bedrock on real sockets: what a retry can cure no client hears of, what it cannot reaches them in Bedrock's own
// words, and nothing is sent again once a byte has left.
import assert from 'node:assert/strict'
import type http from 'node:http'
import { before, type TestContext, test } from 'node:test'
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { parseConfig } from '../../src/config/load.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRawUpstream } from '../support/rawUpstream.ts'
import { settledAfter } from '../support/settled.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { call, callHttp1, PROTOCOLS, until, useTestCredentials } from '../support/wire.ts'

const AWS = { region: 'us-east-1', credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' } }
const FAST = 'retries: { baseMs: 1, budgetPerS: 1000 }'
const ANSWER = JSON.stringify({
  output: { message: { role: 'assistant', content: [{ text: 'rivers' }] } },
  stopReason: 'end_turn',
  usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 },
  metrics: { latencyMs: 1 },
})
const ASK = { modelId: CLAUDE, messages: [{ role: 'user' as const, content: [{ text: 'Tell me about rivers.' }] }] }

before(() => {
  forgetAwsEnvironment()
  useTestCredentials()
})

function fail(response: http.ServerResponse, status = 503, name = 'ServiceUnavailableException'): void {
  const headers = {
    'x-amzn-errortype': `${name}:http://internal.amazon.com/coral/com.amazon.bedrock/`,
    'x-amzn-requestid': 'of-bedrock',
    'content-type': 'application/json',
  }
  response.writeHead(status, headers).end(`{"message":"says  ${name}"}`)
}

async function bedrockThat(t: TestContext, respond: (response: http.ServerResponse, send: number) => void) {
  const bedrock: FakeBedrock = await startFakeBedrock((_request, response) => respond(response, bedrock.seen.length))
  t.after(() => bedrock.close())
  return bedrock
}

async function start(t: TestContext, yaml: string): Promise<TestSluice> {
  const sluice = await startTestSluice(yaml)
  t.after(() => sluice.stop(0))
  return sluice
}

/** Several pools: one that has just failed a request is not asked by it again for a while. */
function severalPools(urls: string[], rest = FAST): string {
  const pools = urls.map((url, i) => `{ name: pool-${i}, region: us-east-1, endpoint: "${url}" }`)
  return `models: [{ name: any, modelIds: ["*"], pools: [${pools.join(', ')}] }]\n${rest}`
}

function metricsOf(sluice: TestSluice): Promise<string> {
  return callHttp1(sluice.url, { method: 'GET', path: '/metrics' }).then(reply => reply.body.toString())
}

const ONCE: [number, string][] = [
  [500, 'InternalServerException'],
  [503, 'ServiceUnavailableException'],
  [429, 'ModelNotReadyException'],
]
for (const [status, name] of ONCE) {
  test(`an AWS SDK that never retries does not see a ${status} ${name} that is followed by an answer`, async t => {
    const bedrock = await bedrockThat(t, (response, send) =>
      send === 1 ? fail(response, status, name) : response.end(ANSWER),
    )
    const sluice = await start(t, severalPools([bedrock.url, bedrock.url]))
    const client = new BedrockRuntimeClient({ ...AWS, endpoint: sluice.url, maxAttempts: 1 })
    t.after(() => client.destroy())
    const [line] = await settledAfter(sluice, 1, async () => {
      const { output, $metadata } = await client.send(new ConverseCommand(ASK))
      assert.equal(output?.message?.content?.[0]?.text, 'rivers')
      assert.equal($metadata.attempts, 1)
    })
    assert.equal(bedrock.seen.length, 2)
    assert.deepEqual(bedrock.seen[0]!.body, bedrock.seen[1]!.body)
    assert.deepEqual([line!.attempts, line!.chargedTokens, line!.outcome], [2, 5, 'answered'])
  })
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a failure that stays reaches the client in Bedrock's own words, after four calls`, async t => {
    const bedrock = await bedrockThat(t, response => fail(response))
    const sluice = await start(t, severalPools(Array(4).fill(bedrock.url)))
    const [line] = await settledAfter(sluice, 1, async () => {
      const reply = await call(protocol, sluice.url)
      const body = '{"message":"says  ServiceUnavailableException"}'
      assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [503, body, false])
      assert.match(String(reply.headers['x-amzn-errortype']), /^ServiceUnavailableException:/)
      assert.equal(reply.headers['x-amzn-requestid'], 'of-bedrock')
      assert.equal(reply.headers['x-sluice-attempts'], '4')
      assert.equal(reply.headers['x-sluice-refusal'], undefined)
    })
    assert.equal(bedrock.seen.length, 4)
    assert.deepEqual([line!.outcome, line!.status, line!.chargedTokens], ['answered', 503, 0])
    const metrics = await metricsOf(sluice)
    const sends = [...metrics.matchAll(/^sluice_upstream_sends_total\{.*\} (\d+)$/gm)].map(([, n]) => Number(n))
    const retries = [...metrics.matchAll(/^sluice_retries_total\{.*\} (\d+)$/gm)].map(([, n]) => Number(n))
    const sum = (of: number[]) => of.reduce((total, n) => total + n, 0)
    assert.deepEqual([sum(sends), sum(retries)], [4, 3])
  })

  test(`${protocol}: a connection that is reset before the head is asked again, and the client sees the answer`, async t => {
    const upstream = await startRawUpstream((socket, request) => {
      if (request === 1) socket.resetAndDestroy()
      else socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${ANSWER.length}\r\n\r\n${ANSWER}`)
    })
    t.after(() => upstream.close())
    const sluice = await start(t, severalPools([upstream.url, upstream.url]))
    const reply = await call(protocol, sluice.url)
    assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [200, ANSWER, false])
    assert.deepEqual([reply.headers['x-sluice-attempts'], upstream.requests], ['2', 2])
  })

  test(`${protocol}: a stream that breaks after its first byte is cut at the client too, and not asked again`, async t => {
    const bedrock = await bedrockThat(t, response => {
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
      response.write('first', () => response.destroy())
    })
    const sluice = await start(t, severalPools([bedrock.url, bedrock.url]))
    const reply = await call(protocol, sluice.url, { path: `/model/${CLAUDE}/converse-stream` })
    assert.deepEqual([reply.status, reply.broken], [200, true])
    assert.equal(bedrock.seen.length, 1)
  })
}

test('while one pool fails the other serves, and no client sees an error', async t => {
  const sick = await bedrockThat(t, response => fail(response, 500))
  const well = await bedrockThat(t, response => response.end(ANSWER))
  const sluice = await start(t, severalPools([sick.url, well.url]))
  await settledAfter(sluice, 20, async () => {
    const replies = await Promise.all(Array.from({ length: 20 }, () => call('HTTP/1.1', sluice.url)))
    assert.deepEqual(
      replies.map(({ status, headers }) => [status, headers['x-sluice-pool']]),
      replies.map(() => [200, 'pool-1']),
    )
  })
  assert.equal(well.seen.length, 20)
})

test('a budget that is spent is told in the metrics, and the failure to the client', async t => {
  const bedrock = await bedrockThat(t, response => fail(response))
  const rest = 'retries: { baseMs: 1, budgetShare: 0, budgetPerS: 0 }'
  const sluice = await start(t, severalPools([bedrock.url, bedrock.url], rest))
  assert.equal((await call('HTTP/1.1', sluice.url)).status, 503)
  assert.equal(bedrock.seen.length, 1)
  assert.match(await metricsOf(sluice), /^sluice_retry_budget_refusals_total\{model="any"\} 1$/m)
})

test('beyond the bound of calls to a pool one waits for the first to end, and one more is refused with when to come back', async t => {
  const held: http.ServerResponse[] = []
  const bedrock = await bedrockThat(t, response => void held.push(response))
  const rest = 'stages: { maxSendsPerPool: 2, maxWaitingSends: 1 }'
  const sluice = await start(t, oneModel(bedrock.url, '', rest))
  const calls = Array.from({ length: 4 }, () => call('HTTP/1.1', sluice.url))
  const first = await Promise.race(calls)
  assert.deepEqual([first.status, first.headers['x-sluice-refusal']], [503, 'overloaded'])
  assert.ok(Number(first.headers['retry-after-ms']) > 0)
  await until(() => held.length === 2, 'two run')
  assert.equal(bedrock.seen.length, 2)
  held.shift()!.end(ANSWER)
  await until(() => held.length === 2, 'the third runs')
  for (const response of held) response.end(ANSWER)
  const statuses = (await Promise.all(calls)).map(reply => reply.status)
  assert.deepEqual(statuses.toSorted(), [200, 200, 200, 503])
})

test('new settings of retries hold from the reload on', async t => {
  const bedrock = await bedrockThat(t, response => fail(response))
  const sluice = await start(t, severalPools([bedrock.url, bedrock.url]))
  const next = parseConfig(severalPools([bedrock.url, bedrock.url], 'retries: { maxAttempts: 2, baseMs: 1 }'), 'b', {})
  assert.ok(next.kind !== 'faulty')
  assert.deepEqual(
    sluice.reload(next.config).filter(name => name === 'retries'),
    [],
  )
  await call('HTTP/1.1', sluice.url)
  assert.equal(bedrock.seen.length, 2)
})

// ---- a storm ----

/** Calls of one app, and how many it runs at once. */
const CALLS = 800
const AT_ONCE_CALLS = 20

interface Storm {
  errors: number
  sends: number
  seconds: number
}

async function storm(endpoint: string, simulatorUrl: string): Promise<Storm> {
  await callHttp1(simulatorUrl, { method: 'DELETE', path: '/_simulator/counts' })
  const client = new BedrockRuntimeClient({ ...AWS, endpoint })
  const startedMs = performance.now()
  let errors = 0
  let begun = 0
  const app = async () => {
    while (begun++ < CALLS) await client.send(new ConverseCommand(ASK)).catch(() => errors++)
  }
  await Promise.all(Array.from({ length: AT_ONCE_CALLS }, app))
  client.destroy()
  const { counts } = JSON.parse(
    (await callHttp1(simulatorUrl, { method: 'GET', path: '/_simulator' })).body.toString(),
  ) as { counts: { requests: number } }
  return { errors, sends: counts.requests, seconds: (performance.now() - startedMs) / 1000 }
}

test('three of ten calls fail: through Sluice the same SDK sees fewer errors, and Bedrock gets at most 1.1 times what Sluice received, and the floor', {
  timeout: 120_000,
}, async t => {
  const latency = AT_ONCE.replace('simulator: {', 'simulator: { faults: { errorRate: 0.3 },')
  const sluice = await start(t, severalPools(Array(4).fill('simulator'), latency))
  const direct = await storm(sluice.simulatorUrl!, sluice.simulatorUrl!)
  const through = await storm(sluice.url, sluice.simulatorUrl!)
  const received = sluice.logged().filter(line => line.msg === 'invocation').length
  t.diagnostic(`direct: ${JSON.stringify(direct)}; through Sluice: ${JSON.stringify({ ...through, received })}`)
  assert.ok(through.sends <= 1.1 * received + through.seconds + 10, `${through.sends} sends of ${received} received`)
  assert.ok(through.errors < direct.errors, `${through.errors} errors through Sluice, ${direct.errors} direct`)
})
