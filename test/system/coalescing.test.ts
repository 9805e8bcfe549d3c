// A hundred identical streams over two gateways that share a Redis: one call to Bedrock, one charge, and every client has
// the whole answer, whoever else goes away.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, type TestContext, test } from 'node:test'
import { BedrockRuntimeClient, ConverseStreamCommand } from '@aws-sdk/client-bedrock-runtime'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { CLAUDE } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, callHttp1, callHttp2, HELLO, type Reply, until, useTestCredentials } from '../support/wire.ts'

/** An answer takes about two seconds: all come while it is in flight. */
const SLOWLY = 'simulator: { latency: { firstTokenMs: 500, perTokenMs: 15, jitter: 0 }, answerTokens: 100 }'
const CLIENTS = 100

let redis: TestRedis
before(async () => {
  useTestCredentials()
  redis = await startRedis()
})
after(() => redis.stop())

async function twoGateways(t: TestContext): Promise<[TestSluice, TestSluice]> {
  await redis.restart()
  const yaml = (endpoint: string) =>
    oneModel(endpoint, '', `${SLOWLY}\nredis: { url: "${redis.url}" }`).replace(
      '    pools',
      '    coalesce: client\n    pools',
    )
  const first = await startTestSluice(yaml('simulator'))
  const second = await startTestSluice(yaml(first.simulatorUrl!))
  t.after(async () => {
    await second.stop(0)
    await first.stop(0)
  })
  return [first, second]
}

async function sends(first: TestSluice): Promise<number> {
  const reply = await callHttp1(first.simulatorUrl!, { method: 'GET', path: '/_simulator' })
  return JSON.parse(reply.body.toString()).counts.requests
}

/** The lines of both gateways, once there are as many as clients. */
async function invocations(gateways: TestSluice[], count: number): Promise<Record<string, unknown>[]> {
  const lines = () => gateways.flatMap(one => one.logged().filter(line => line.msg === 'invocation'))
  await until(() => lines().length >= count, `${count} lines`)
  return lines()
}

/** One paid, and only what the call cost; the others paid nothing. */
function paidOnce(lines: Record<string, unknown>[], count: number): void {
  assert.equal(lines.length, count)
  const paying = lines.filter(line => Number(line.chargedTokens) > 0)
  assert.equal(paying.length, 1)
  assert.equal(paying[0]!.coalesced, undefined)
  assert.equal(lines.filter(line => line.coalesced === true && line.attempts === 0).length, count - 1)
}

test('a hundred ConverseStreams through the AWS SDK: one call, a hundred whole answers, one charge', {
  timeout: 60_000,
}, async t => {
  const gateways = await twoGateways(t)
  const clients = gateways.map(
    ({ url }) =>
      new BedrockRuntimeClient({
        region: 'us-east-1',
        endpoint: url,
        credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
      }),
  )
  const converse = async (client: BedrockRuntimeClient) => {
    const messages = [{ role: 'user' as const, content: [{ text: 'What is a sluice?' }] }]
    const { stream } = await client.send(new ConverseStreamCommand({ modelId: CLAUDE, messages }))
    const events: unknown[] = []
    for await (const event of stream!) events.push(event)
    return events
  }
  const answers = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => converse(clients[i % 2]!)))
  for (const client of clients) client.destroy()
  const [first] = answers
  assert.ok(
    first!.length > 20 && 'metadata' in (first!.at(-1) as object),
    `a whole answer, not ${first!.length} events`,
  )
  for (const answer of answers) assert.deepEqual(answer, first)
  assert.equal(await sends(gateways[0]), 1)
  paidOnce(await invocations(gateways, CLIENTS), CLIENTS)
  for (const gateway of gateways) {
    const { body } = await callHttp1(gateway.url, { method: 'GET', path: '/metrics' })
    const followers = /^sluice_coalesced_total\{model="any"\} (\d+)$/m.exec(body.toString())?.[1]
    assert.ok(Number(followers) === CLIENTS / 2 || Number(followers) === CLIENTS / 2 - 1, `${followers} followers`)
  }
})

/** Not cut short by its cap. */
const LONG = HELLO.replace('10', '200')
const STREAM = CONVERSE.replace('converse', 'converse-stream')

interface Stream {
  bytes: () => number
  isLeader: () => boolean | undefined
  reply: Promise<Reply>
  kill(): void
}

function openStream(url: string): Stream {
  const chunks: Buffer[] = []
  let head: http.IncomingMessage | undefined
  const request = http.request(url, { method: 'POST', path: STREAM, agent: false })
  const reply = new Promise<Reply>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', response => {
      head = response
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', () => {})
      response.on('close', () => {
        const { statusCode, headers, complete } = response
        resolve({ status: statusCode!, headers, body: Buffer.concat(chunks), broken: !complete })
      })
    })
  })
  request.end(LONG)
  return {
    reply,
    bytes: () => chunks.reduce((sum, { length }) => sum + length, 0),
    isLeader: () => head && head.headers['x-sluice-coalesced'] === undefined,
    kill: () => request.socket!.destroy(),
  }
}

test("when the leader's client is killed in mid-stream the other 99 have the whole answer", {
  timeout: 60_000,
}, async t => {
  const gateways = await twoGateways(t)
  const streams = Array.from({ length: CLIENTS }, (_, i) => openStream(gateways[i % 2]!.url))
  await until(() => streams.every(stream => stream.bytes() > 0), 'all stream', 20_000)
  const leaders = streams.filter(stream => stream.isLeader())
  assert.equal(leaders.length, 1)
  leaders[0]!.kill()
  const killed = await leaders[0]!.reply
  const replies = await Promise.all(streams.filter(stream => stream !== leaders[0]).map(({ reply }) => reply))
  const [whole] = replies
  assert.ok(killed.broken && killed.body.length < whole!.body.length / 2, 'it was killed long before the end')
  assert.equal(replies.length, CLIENTS - 1)
  for (const { status, broken, body } of replies) {
    assert.deepEqual([status, broken], [200, false])
    assert.ok(body.equals(whole!.body))
  }
  assert.ok(whole!.body.includes('totalTokens'), 'down to its last event')
  assert.equal(await sends(gateways[0]), 1)
  const lines = await invocations(gateways, CLIENTS)
  paidOnce(lines, CLIENTS)
  assert.equal(lines.find(line => Number(line.chargedTokens) > 0)!.outcome, 'aborted')
})

test('HTTP/1.1 and HTTP/2 clients share a call, and another client, class or body does not', {
  timeout: 60_000,
}, async t => {
  const [first, second] = await twoGateways(t)
  const what = { path: STREAM, body: LONG }
  const same = [callHttp1(first.url, what), callHttp2(first.url, what), callHttp2(second.url, what)]
  const others = [
    callHttp1(first.url, { ...what, headers: { 'x-sluice-priority': 'high' } }),
    callHttp1(second.url, { ...what, body: LONG.replace('hello', 'hallo') }),
  ]
  const replies = await Promise.all(same)
  for (const { status, broken, body } of replies) {
    assert.deepEqual([status, broken], [200, false])
    assert.ok(body.equals(replies[0]!.body))
  }
  for (const { headers } of await Promise.all(others)) assert.equal(headers['x-sluice-coalesced'], undefined)
  assert.equal(await sends(first), 3)
})
