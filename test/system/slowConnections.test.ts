// Five hundred clients that take their time, in every way there is, beside one that does not.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { NodeHttp2Handler } from '@smithy/node-http-handler'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, callHttp1, exchange, HELLO, until, useTestCredentials } from '../support/wire.ts'

const ANSWER = {
  output: { message: { role: 'assistant', content: [{ text: 'hello' }] } },
  stopReason: 'end_turn',
  usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 },
}
const EACH = 100
const TIMEOUTS = 'headersTimeoutMs: 4000, requestTimeoutMs: 5000, idleTimeoutMs: 4000'
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from('000000040000000000', 'hex'),
])
const PING = Buffer.from('0000080600000000000000000000000000', 'hex')
const POST = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n`

const folder = mkdtempSync(join(tmpdir(), 'sluice-slow-'))
const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
const made = spawnSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
  ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost'],
  ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:TRUE'],
])
const skip = made.status === 0 ? false : 'openssl is not there to make a certificate'

let bedrock: FakeBedrock
const sluices: TestSluice[] = []
before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ANSWER)),
  )
})
after(async () => {
  for (const sluice of sluices) await sluice.stop(0)
  await bedrock.close()
  rmSync(folder, { recursive: true })
})

async function start(server: string): Promise<TestSluice> {
  const sluice = await startTestSluice(oneModel(bedrock.url, '', `server: { ${server} }`))
  sluices.push(sluice)
  return sluice
}

/** One request of the AWS SDK on a connection of its own. */
async function normal(url: string): Promise<void> {
  const nodeHttp2ConnectOptions = url.startsWith('https') ? { ca: readFileSync(certFile, 'utf8') } : {}
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: url.replace('127.0.0.1', 'localhost'),
    credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'x' },
    requestHandler: new NodeHttp2Handler({ nodeHttp2ConnectOptions } as ConstructorParameters<
      typeof NodeHttp2Handler
    >[0]),
    maxAttempts: 1,
  })
  const messages = [{ role: 'user' as const, content: [{ text: 'hello' }] }]
  const reply = await client.send(new ConverseCommand({ modelId: 'any.m', messages }))
  assert.deepEqual(reply.output?.message?.content, [{ text: 'hello' }])
  client.destroy()
}

/** What is said at first, and what is said again and again. */
const WAYS: Record<string, { tls?: true; first: string | Buffer; again?: string | Buffer }> = {
  'says nothing': { first: '' },
  'drips headers': { first: `${POST}X-Slow: `, again: 'x' },
  'drips a body': { first: `${POST}\r\n`, again: 'x' },
  'is an HTTP/2 session that only sends PINGs': { first: PREFACE, again: PING },
  'never finishes its TLS handshake': { tls: true, first: Buffer.from('1603010200', 'hex') },
}

/** Connections that this process holds, of either side. */
function held(): number {
  return process.getActiveResourcesInfo().filter(kind => /^(TCPSocketWrap|TLSWrap|TCPWRAP)$/i.test(kind)).length
}

test('500 slow connections stop no normal request, all of them are cut off, and nothing of them is left', {
  skip,
}, async t => {
  const plain = await start(TIMEOUTS)
  const secure = await start(`${TIMEOUTS}, tls: { certFile: "${certFile}", keyFile: "${keyFile}" }`)
  for (const { url } of [plain, secure]) await normal(url)
  await until(() => held() > 0, 'sockets are counted')
  let heldBefore = held()
  await until(() => {
    const last = heldBefore
    heldBefore = held()
    return heldBefore === last
  }, 'the normal connections are closed')
  const closed = new Map<string, number>()
  const talkers: (() => void)[] = []
  const sockets = Object.entries(WAYS).flatMap(([way, { tls, first, again }]) =>
    Array.from({ length: EACH }, () => {
      const socket = net.connect(Number(new URL((tls ? secure : plain).url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.on('close', () => closed.set(way, (closed.get(way) ?? 0) + 1))
      socket.resume().write(first)
      if (again) talkers.push(() => void (socket.writable && socket.write(again)))
      return socket
    }),
  )
  await Promise.all(sockets.map(socket => new Promise(resolve => socket.on('connect', resolve))))
  const timer = setInterval(() => {
    for (const talk of talkers) talk()
  }, 100)
  t.after(() => clearInterval(timer))
  for (const { url } of [plain, secure]) await normal(url)
  assert.deepEqual(Object.fromEntries(closed), {}, 'all of them were there while the normal requests were answered')
  const all = Object.fromEntries(Object.keys(WAYS).map(way => [way, EACH]))
  const gone = () => Object.keys(WAYS).every(way => closed.get(way) === EACH)
  await until(gone, 'every slow connection is cut off', 30_000).catch(() =>
    assert.deepEqual(Object.fromEntries(closed), all),
  )
  await until(() => held() <= heldBefore, `no socket is left: ${held()}, ${heldBefore} before`)
  const { stages } = (await (await fetch(`${plain.url}/status`)).json()) as {
    stages: { stage: string; depth: number }[]
  }
  assert.deepEqual(
    stages.filter(({ depth }) => depth !== 0),
    [],
    'no bytes and no turns are kept for them',
  )
  for (const { url } of [plain, secure]) await normal(url)
})

test('HTTP/2: a refusal that its client never takes holds its stream no longer than the stall timeout', async () => {
  const { url } = await start('stallTimeoutMs: 300')
  const session = http2.connect(url, { settings: { initialWindowSize: 0 } })
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': '/nowhere' })
  let code: number | undefined
  stream.on('error', () => {})
  stream.on('close', () => {
    code = stream.rstCode
  })
  stream.end()
  await until(() => code !== undefined, 'the stream is reset').finally(() => session.destroy())
  assert.equal(code, http2.constants.NGHTTP2_INTERNAL_ERROR)
})

for (const path of ['/nowhere', '/healthz', '/metrics']) {
  test(`HTTP/1.1: 32 requests for ${path} may stand in a connection without an answer, and one more ends it`, async () => {
    const { url } = await start('stallTimeoutMs: 300')
    const request = `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`
    const answers = async (count: number) => {
      const closing = request.replace('Host', 'Connection: close\r\nHost')
      const text = await exchange(url, [request.repeat(count - 1) + closing])
      return text.match(/HTTP\/1\.1 \d{3} [A-Z]/g)?.length ?? 0
    }
    assert.equal(await answers(32), 32)
    assert.ok((await answers(33)) < 33)
  })
}

/** What is answered and not taken, however small: each of these is less than any buffer on the way. */
const SMALL: Record<string, { method: string; path: string }> = {
  'an answer': { method: 'POST', path: CONVERSE },
  'a stream': { method: 'POST', path: CONVERSE.replace('converse', 'converse-stream') },
  '/healthz': { method: 'GET', path: '/healthz' },
  '/readyz': { method: 'GET', path: '/readyz' },
  '/status': { method: 'GET', path: '/status' },
  '/metrics': { method: 'GET', path: '/metrics' },
}

for (const [what, { method, path }] of Object.entries(SMALL)) {
  test(`HTTP/2: ${what} that its client never takes holds its stream no longer than the stall timeout`, async () => {
    const { url } = await start('stallTimeoutMs: 300')
    const session = http2.connect(url, { settings: { initialWindowSize: 0 } })
    session.on('error', () => {})
    const stream = session.request({ ':method': method, ':path': path })
    let status: number | undefined
    let isClosed = false
    stream.on('response', headers => {
      status = headers[':status']
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      isClosed = true
    })
    stream.end(method === 'POST' ? HELLO : undefined)
    await until(() => isClosed, 'the stream is reset').finally(() => session.destroy())
    assert.equal(status, 200)
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR)
  })
}

test('pages of figures that nobody takes are bounded, and leave room for health and for calls', async () => {
  const { url } = await start('stallTimeoutMs: 2000')
  const session = http2.connect(url, { settings: { initialWindowSize: 0 } })
  session.on('error', () => {})
  const statuses: number[] = []
  for (let i = 0; i < 200; i++) {
    const stream = session.request({ ':method': 'GET', ':path': i % 2 === 0 ? '/metrics' : '/status' })
    stream.on('error', () => {})
    stream.on('response', headers => statuses.push(headers[':status']!))
    stream.end()
  }
  await until(() => statuses.length === 200, 'all have a head')
  assert.deepEqual([statuses.filter(one => one === 200).length, statuses.filter(one => one === 503).length], [64, 136])
  assert.equal((await callHttp1(url, { method: 'GET', path: '/healthz' })).status, 200)
  assert.equal((await callHttp1(url)).status, 200)
  session.destroy()
  const metrics = async () => (await callHttp1(url, { method: 'GET', path: '/metrics' })).status === 200
  await until(metrics, 'there is room again')
})
