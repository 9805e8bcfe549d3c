// The ingress guard in front of a whole Sluice: whose requests are counted, what the refused are told, and that a forged
// X-Forwarded-For changes nothing.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, afterEach, before, test } from 'node:test'
import { BedrockRuntimeClient, ConverseCommand, ThrottlingException } from '@aws-sdk/client-bedrock-runtime'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRedis } from '../support/redisServer.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { assertRefusal, call, callHttp1, PROTOCOLS, type Reply, until, useTestCredentials } from '../support/wire.ts'

const ADDRESS_LIMIT = { status: 429, exception: 'ThrottlingException', code: 'address-limit' }

let bedrock: FakeBedrock
let sluices: TestSluice[] = []
before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  )
})
afterEach(async () => {
  for (const sluice of sluices) await sluice.stop(0)
  sluices = []
})
after(() => bedrock.close())

async function start(rest: string): Promise<TestSluice> {
  const sluice = await startTestSluice(oneModel(bedrock.url, '', rest))
  sluices.push(sluice)
  return sluice
}

const statuses = (replies: Reply[]) => replies.map(({ status }) => status)

/** One after the other, each with its own X-Forwarded-For. */
async function send(url: string, forwarded: (string | undefined)[]): Promise<Reply[]> {
  const replies: Reply[] = []
  for (const one of forwarded)
    replies.push(await callHttp1(url, one === undefined ? {} : { headers: { 'x-forwarded-for': one } }))
  return replies
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: over ingress.requestsPerMinute is refused in Bedrock's shape with the time to come back, counted and logged`, async () => {
    const sluice = await start('ingress: { requestsPerMinute: 2 }')
    for (let i = 0; i < 2; i++) assert.equal((await call(protocol, sluice.url)).status, 200)
    const seen = bedrock.seen.length
    const reply = await call(protocol, sluice.url)
    assert.match(assertRefusal(reply, ADDRESS_LIMIT), /^Too many requests from this address/)
    const leftMs = Number(reply.headers['retry-after-ms'])
    assert.ok(leftMs > 0 && leftMs <= 60_000, `${leftMs}`)
    assert.equal(reply.headers['retry-after'], String(Math.ceil(leftMs / 1000)))
    assert.equal(bedrock.seen.length, seen, 'Bedrock does not hear of it')
    const metrics = await (await fetch(`${sluice.url}/metrics`)).text()
    assert.match(metrics, /^sluice_refusals_total\{model="none",operation="Converse",code="address-limit"\} 1$/m)
    await until(() => sluice.logged().some(line => line.refusal === 'address-limit'), 'a log line')
  })
}

test('the AWS SDK takes the refusal for a throttle', async () => {
  const { url } = await start('ingress: { requestsPerMinute: 1 }')
  const credentials = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'x' }
  const client = new BedrockRuntimeClient({ region: 'us-east-1', endpoint: url, credentials, maxAttempts: 1 })
  const ask = () =>
    client.send(new ConverseCommand({ modelId: 'any.m', messages: [{ role: 'user', content: [{ text: 'hello' }] }] }))
  await ask()
  await assert.rejects(ask, ThrottlingException)
  client.destroy()
})

test('operations routes are not counted, and are answered when the address is over', async () => {
  const { url } = await start('ingress: { requestsPerMinute: 1 }')
  const paths = ['/healthz', '/readyz', '/metrics', '/status']
  for (const path of paths) assert.equal((await fetch(url + path)).status, 200)
  assert.deepEqual(statuses(await send(url, [undefined, undefined])), [200, 429])
  for (const path of paths) assert.equal((await fetch(url + path)).status, 200)
})

test('a forged X-Forwarded-For does not change the counted address: no proxy is trusted', async () => {
  const { url } = await start('ingress: { requestsPerMinute: 3 }')
  const forged = ['1.1.1.1', '2.2.2.2', '127.0.0.1, 3.3.3.3', '4.4.4.4', '::1']
  assert.deepEqual(statuses(await send(url, forged)), [200, 200, 200, 429, 429])
})

test('a forged X-Forwarded-For does not change the counted address: behind a trusted proxy that appends', async () => {
  const { url } = await start('ingress: { requestsPerMinute: 2 }\nserver: { trustedProxies: [loopback, 10.0.0.0/8] }')
  const asSeen = (forged: string, real: string) => `${forged}, ${real}, 10.0.0.7`
  const replies = await send(url, [
    asSeen('1.1.1.1', '8.8.8.8'),
    asSeen('10.0.0.1', '8.8.8.8'),
    asSeen('2.2.2.2, garbage', '8.8.8.8'),
    asSeen('8.8.8.8', '9.9.9.9'),
  ])
  assert.deepEqual(statuses(replies), [200, 200, 429, 200])
})

for (const protocol of PROTOCOLS) {
  test(`${protocol}: in open mode a nameless user is the address that the trusted proxy saw, and Bedrock never hears of it`, async () => {
    const sluice = await start('server: { trustedProxies: [127.0.0.1] }')
    const headers = { 'x-forwarded-for': '8.8.8.8', 'x-forwarded-proto': 'https', 'x-real-ip': '8.8.8.8' }
    assert.equal((await call(protocol, sluice.url, { headers })).status, 200)
    await until(() => sluice.logged().some(line => line.user === '8.8.8.8'), 'a log line with the user')
    const sent = bedrock.seen.at(-1)!.headers
    for (const name of Object.keys(headers)) assert.equal(header(sent, name), undefined, name)
  })
}

test('two gateways with one Redis count an address together, and serve while Redis is away', async () => {
  const redis = await startRedis()
  const rest = `ingress: { requestsPerMinute: 4 }\nredis: { url: "${redis.url}" }`
  const [one, two] = [await start(rest), await start(rest)]
  const ready = async ({ url }: TestSluice) =>
    ((await (await fetch(`${url}/readyz`)).json()) as { status: string }).status
  for (const sluice of [one, two]) await until(async () => (await ready(sluice)) === 'ready', 'the shared ledger')
  const replies = [...(await send(one.url, [undefined, undefined])), ...(await send(two.url, [undefined, undefined]))]
  assert.deepEqual(statuses(replies), [200, 200, 200, 200])
  assert.deepEqual(statuses([...(await send(one.url, [undefined])), ...(await send(two.url, [undefined]))]), [429, 429])
  const third = await start(rest)
  await until(async () => (await ready(third)) === 'ready', 'the shared ledger')
  await redis.stop()
  await until(async () => (await ready(third)) === 'degraded', 'Redis is away')
  assert.deepEqual(statuses(await send(third.url, Array(5).fill(undefined))), [200, 200, 200, 200, 429])
})

test('ingress.connectionsPerAddress closes one connection more, but none of a trusted proxy', async () => {
  const limited = await start('ingress: { connectionsPerAddress: 1 }')
  const proxied = await start('ingress: { connectionsPerAddress: 1 }\nserver: { trustedProxies: [loopback] }')
  for (const { url } of [limited, proxied]) {
    const held = net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
    await new Promise(resolve => held.on('connect', resolve))
    const second = callHttp1(url)
    if (url === proxied.url) assert.equal((await second).status, 200)
    else await assert.rejects(second, /ECONNRESET|hang up/)
    held.destroy()
  }
})
