// Everything a client sends and Bedrock answers carries a canary of its own. After good, refused, throttled, failed, shared,
// malformed and aborted traffic none is in any log line, metric, status page or answer to another request; and of all that
// ever went to Redis only answers that are shared or kept hold any.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Redis } from 'ioredis'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { startTestSluice, type TestSluice } from '../support/sluice.ts'
import {
  CONVERSE,
  call,
  callHttp2,
  exchange,
  PROTOCOLS,
  type Protocol,
  type Reply,
  until,
  useTestCredentials,
} from '../support/wire.ts'

const CANARY = /CNRY-(\d+)-([a-z]+)/g
const STALE_MS = 60_000
const FLIGHT_MS = 30_000

let redis: TestRedis
let bedrock: FakeBedrock
let sluices: TestSluice[]
let watcher: Redis
/** Every command Redis was ever sent. */
const commands: string[] = []
/** Answers that hold another request's canary, or a Sluice refusal that holds any. */
const leaked: string[] = []
let isDown = false
let requests = 0

before(async () => {
  useTestCredentials()
  redis = await startRedis()
  bedrock = await startFakeBedrock(respond)
  const yaml = `
models:
  - { name: kept, modelIds: ["kept.*"], maxOutputTokens: 100, fallback: [stale], pools: [${pool('kept')}] }
  - { name: shared, modelIds: ["shared.*"], maxOutputTokens: 100, coalesce: client, pools: [${pool('shared')}] }
  - { name: tight, modelIds: ["tight.*"], maxOutputTokens: 100, pools: [${pool('tight', 'requestsPerMinute: 1, tokensPerMinute: 5000')}] }
  - { name: any, modelIds: ["any.*"], maxOutputTokens: 100, pools: [${pool('any')}] }
server: { maxBodyBytes: 4096, requestTimeoutMs: 1000, headersTimeoutMs: 1000 }
upstream: { headersTimeoutMs: 400, idleTimeoutMs: 400 }
retries: { maxAttempts: 2, baseMs: 1, budgetPerS: 1000 }
breaker: { failures: 1000, failureShare: 1, minCalls: 100000 }
stale: { maxAgeMs: ${STALE_MS} }
redis: { url: "${redis.url}" }
`
  const plain = new Redis(redis.url)
  watcher = await plain.monitor()
  plain.disconnect()
  watcher.on('monitor', (_time, args: string[]) => commands.push(args.join(' ')))
  sluices = [await startTestSluice(yaml, {}, 'trace'), await startTestSluice(yaml, {}, 'trace')]
})
after(async () => {
  watcher.disconnect()
  for (const sluice of sluices) await sluice.stop(0)
  await bedrock.close()
  await redis.stop()
})

function pool(name: string, quotas = ''): string {
  return `{ name: ${name}, region: us-east-1, endpoint: "${bedrock.url}"${quotas && `, ${quotas}`} }`
}

/** As the path says; text and headers of the answer hold the number of the request. */
function respond({ url = '' }: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const id = /CNRY-(\d+)-/.exec(body.toString())?.[1] ?? '0'
  const text = `{"output":{"message":{"content":[{"text":"CNRY-${id}-answer"}]}},"usage":{"inputTokens":1,"outputTokens":1}}`
  const headers = { 'content-type': 'application/json', 'x-answer': `CNRY-${id}-answerheader` }
  const fail = (status: number, exception: string) =>
    response.writeHead(status, { ...headers, 'x-amzn-errortype': exception }).end(`{"message":"CNRY-${id}-error"}`)
  if (url.includes('throttled')) fail(429, 'ThrottlingException')
  else if (url.includes('invalid')) fail(400, 'ValidationException')
  else if (url.includes('broken') || (url.includes('kept') && isDown)) fail(500, 'InternalServerException')
  else if (url.includes('reset')) response.destroy()
  else if (url.includes('silent')) return
  else if (url.includes('cut')) {
    response.writeHead(200, headers).write(text)
    setTimeout(() => response.destroy(), 20)
  } else if (url.includes('shared')) setTimeout(() => response.writeHead(200, headers).end(text), 400)
  else response.writeHead(200, headers).end(text)
}

interface Asked {
  path: string
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** A request in which everything holds a canary with its number. `id`: as if it were another's twin, byte by byte. */
function asked(path: string, over: Partial<Asked> = {}, id: number = ++requests): Required<Asked> {
  const canary = (kind: string) => `CNRY-${id}-${kind}`
  const body = JSON.stringify({
    messages: [{ role: 'user', content: [{ text: canary('prompt') }] }],
    system: [{ text: canary('system') }],
    toolConfig: { tools: [{ toolSpec: { name: 't', inputSchema: { json: { const: canary('tool') } } } }] },
    inferenceConfig: { maxTokens: 10 },
  })
  const headers = {
    authorization: `AWS4-HMAC-SHA256 Credential=AKIDPUBLIC/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=${canary('signature')}`,
    'x-api-key': canary('apikey'),
    'x-amz-security-token': canary('token'),
    cookie: canary('cookie'),
    'x-custom': canary('header'),
    'x-forwarded-for': canary('forwarded'),
    'x-sluice-user': 'user-that-may-be-seen',
  }
  const query = `${path.includes('?') ? '&' : '?'}q=${canary('query')}`
  return {
    path: path + query,
    method: 'POST',
    ...over,
    headers: { ...headers, ...over.headers },
    body: over.body ?? body,
  }
}

async function ask(
  protocol: Protocol,
  sluice: TestSluice,
  what: Required<Asked>,
  mayHold = requests,
): Promise<Reply | undefined> {
  const reply = await call(protocol, sluice.url, what).catch(() => undefined)
  if (!reply) return undefined
  const text = JSON.stringify(reply.headers) + reply.body
  const others = [...text.matchAll(CANARY)].filter(([, id]) => Number(id) !== mayHold)
  if (others.length > 0) leaked.push(`${what.path} was given ${others[0]![0]}`)
  if (reply.headers['x-sluice-refusal'] && CANARY.test(text)) leaked.push(`${what.path} was refused with ${text}`)
  CANARY.lastIndex = 0
  return reply
}

const bearer = (id: number) => ({ authorization: `Bearer CNRY-${id}-bearer` })
const TRAFFIC: Record<string, (next: number) => Required<Asked>> = {
  good: () => asked(CONVERSE),
  'with a bearer': next => asked(CONVERSE, { headers: bearer(next) }),
  streamed: () => asked('/model/any.model/converse-stream'),
  invoked: () => asked('/model/any.model/invoke'),
  counted: () => asked('/model/any.model/count-tokens'),
  'refused by Bedrock': () => asked('/model/any.invalid/converse'),
  throttled: () => asked('/model/any.throttled/converse', { headers: { 'x-sluice-max-wait-ms': '50' } }),
  failed: () => asked('/model/any.broken/converse'),
  reset: () => asked('/model/any.reset/converse'),
  silent: () => asked('/model/any.silent/converse'),
  cut: () => asked('/model/any.cut/converse-stream'),
  'over the quota': () => asked('/model/tight.model/converse', { headers: { 'x-sluice-max-wait-ms': '1' } }),
  'over any quota': next =>
    asked('/model/tight.model/converse', { body: `{"inferenceConfig":{"maxTokens":9000},"a":"CNRY-${next}-prompt"}` }),
  'no JSON': next => asked(CONVERSE, { body: `{"a":"CNRY-${next}-prompt"` }),
  'a wrong cap': next => asked(CONVERSE, { body: `{"inferenceConfig":{"maxTokens":"CNRY-${next}-prompt"}}` }),
  'too large': next => asked(CONVERSE, { body: `{"a":"${`CNRY-${next}-prompt`.repeat(500)}"}` }),
  'an unknown model': () => asked('/model/unknown.model/converse'),
  'an unknown path': () => asked('/nothing'),
  'another method': () => asked(CONVERSE, { method: 'PUT' }),
  'an unknown priority': () => asked(CONVERSE, { headers: { 'x-sluice-priority': 'urgent' } }),
}

test('no canary is in a log, a metric, a status page or an answer to another, whatever became of its request', async t => {
  for (const protocol of PROTOCOLS)
    for (const [what, make] of Object.entries(TRAFFIC)) {
      const reply = await ask(protocol, sluices[0]!, make(requests + 1))
      t.diagnostic(`${protocol}, ${what}: ${reply?.status ?? 'no answer'} ${reply?.headers['x-sluice-refusal'] ?? ''}`)
    }
  await aborted(asked('/model/any.silent/converse'))
  await malformed()
  await keptAndShared()
  await overTls()
  await until(() => sluices[0]!.logged().filter(line => line.outcome === 'aborted').length > 0, 'the log has it all')
  const pages = []
  for (const { url } of sluices.slice(0, 2))
    for (const path of ['/metrics', '/status', '/readyz', '/healthz'])
      pages.push(JSON.stringify(await (await fetch(url + path)).text()))
  const lines = sluices.flatMap(sluice => sluice.logged().map(line => JSON.stringify(line)))
  assert.ok(lines.length > 2 * Object.keys(TRAFFIC).length, 'traffic was logged')
  assert.ok(
    lines.some(line => line.includes('user-that-may-be-seen')),
    'and the log was read',
  )
  assert.deepEqual([...lines, ...pages].filter(holdsCanary), [])
  assert.deepEqual(leaked, [])
  await inRedis()
})

async function aborted({ path, headers, body }: Required<Asked>): Promise<void> {
  const request = http.request(sluices[0]!.url, { method: 'POST', path, headers })
  request.on('error', () => {})
  request.end(body)
  await until(() => bedrock.seen.some(one => one.url.includes(`CNRY-${requests}-query`)), 'it is on its way')
  request.destroy()
}

/** A third gateway, behind a certificate of its own. */
async function overTls(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-leaks-'))
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const key = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=h']
  const made = spawnSync('openssl', [...key, '-keyout', keyFile, '-out', certFile])
  if (made.status === 0) {
    const yaml = `models: [{ name: any, modelIds: ["*"], pools: [${pool('any')}] }]
server: { tls: { certFile: "${certFile}", keyFile: "${keyFile}" } }`
    const sluice = await startTestSluice(yaml, {}, 'trace')
    sluices.push(sluice)
    const reply = await callHttp2(sluice.url, asked(CONVERSE), { rejectUnauthorized: false })
    assert.ok(reply.body.includes(`CNRY-${requests}-answer`))
    await exchange(sluice.url.replace('https', 'http'), [`POST /?CNRY-${requests}-query HTTP/1.1\r\n\r\n`])
  }
  rmSync(folder, { recursive: true })
}

async function malformed(): Promise<void> {
  const text = () => `CNRY-${++requests}-prompt`
  const junk = [
    `POST ${CONVERSE}?${text()} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${text()}\r\nContent-Length: -1\r\n\r\n`,
    `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ${text()}\r\n`,
    `${text()} / HTTP/1.1\r\n\r\n`,
    `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${text()}`,
  ]
  for (const bytes of junk) {
    const came = await exchange(sluices[0]!.url, [bytes])
    if (holdsCanary(came)) leaked.push(`malformed bytes were told ${came}`)
  }
}

/** Twins: an answer kept while Bedrock is away, and one shared by two gateways. */
async function keptAndShared(): Promise<void> {
  const first = ++requests
  await ask('HTTP/1.1', sluices[0]!, asked('/model/kept.model/converse', {}, first), first)
  isDown = true
  const kept = await ask('HTTP/1.1', sluices[1]!, asked('/model/kept.model/converse', {}, first), first)
  assert.equal(kept?.headers['x-sluice-fallback'], 'stale')
  const twin = ++requests
  const replies = await Promise.all(
    sluices.map(sluice => ask('HTTP/1.1', sluice, asked('/model/shared.model/converse', {}, twin), twin)),
  )
  assert.ok(
    replies.some(reply => reply?.headers['x-sluice-coalesced']),
    'one followed the other',
  )
}

function holdsCanary(text: string): boolean {
  return kindsIn(text).length > 0
}

/** Base64 that holds one counts too. */
function kindsIn(text: string): string[] {
  const decoded = (text.match(/[A-Za-z0-9+/=]{20,}/g) ?? []).flatMap(piece =>
    [0, 1, 2, 3].map(skip => Buffer.from(piece.slice(skip), 'base64').toString('latin1')),
  )
  return [text, ...decoded].flatMap(one => [...one.matchAll(CANARY)].map(match => match[2]!))
}

/** Only answers, and their headers: kept ones as long as the config says, shared ones half a minute. */
async function inRedis(): Promise<void> {
  assert.ok(commands.length > 100, 'Redis was watched')
  const kinds = new Set(commands.flatMap(kindsIn))
  assert.deepEqual([...kinds].toSorted(), ['answer', 'answerheader'])
  const client = new Redis(redis.url)
  const holding: string[] = []
  for (const key of await client.keys('*')) {
    assert.ok(!holdsCanary(key), key)
    const text = await wholeOf(client, key)
    if (!holdsCanary(text)) continue
    holding.push(key)
    const lifeMs = await client.pttl(key)
    const longestMs = key.includes('flight') ? FLIGHT_MS : STALE_MS
    assert.ok(lifeMs > 0 && lifeMs <= longestMs, `${key} is kept for ${lifeMs} ms`)
  }
  client.disconnect()
  assert.ok(holding.length > 0 && holding.every(key => /:\{kept\}:answer:|:\{flight:/.test(key)), `${holding}`)
}

async function wholeOf(client: Redis, key: string): Promise<string> {
  const type = await client.type(key)
  if (type === 'string') return (await client.get(key)) ?? ''
  if (type === 'hash') return JSON.stringify(await client.hgetall(key))
  if (type === 'list') return (await client.lrange(key, 0, -1)).join('\n')
  if (type === 'set') return (await client.smembers(key)).join('\n')
  if (type === 'zset') return (await client.zrange(key, '0', '-1')).join('\n')
  return ''
}
