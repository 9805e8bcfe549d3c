import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { afterEach, test } from 'node:test'
import { systemClock } from '../../src/system.ts'
import { createOnePort, type OnePortOptions } from '../../src/transport/onePort.ts'
import { callHttp1, callHttp2, exchange, until } from '../support/wire.ts'

const OPTIONS: OnePortOptions = {
  headersTimeoutMs: 200,
  requestTimeoutMs: 2_000,
  idleTimeoutMs: 300,
  maxConnections: 1_000,
  maxHeaderBytes: 16_384,
  clock: systemClock,
}

let open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of open) await close()
  open = []
})

async function start(options: Partial<OnePortOptions> = {}) {
  const server = createOnePort({ ...OPTIONS, ...options }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () =>
      response.end(`${request.httpVersion} ${request.method} ${request.url} ${Buffer.concat(chunks)}`),
    )
  }) as http.Server
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  open.push(
    () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const SETTINGS = Buffer.from('000000040000000000', 'hex')

test('one plain port answers HTTP/1.1 and prior-knowledge HTTP/2, side by side', async () => {
  const { url } = await start()
  const calls = Array.from({ length: 20 }, (_, i) =>
    (i % 2 === 0 ? callHttp1 : callHttp2)(url, { path: '/a', body: 'b' }),
  )
  const bodies = (await Promise.all(calls)).map(reply => reply.body.toString())
  assert.deepEqual(new Set(bodies), new Set(['1.1 POST /a b', '2.0 POST /a b']))
})

test('a preface that arrives byte by byte is still taken for HTTP/2', async () => {
  const { url } = await start()
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  socket.setNoDelay(true)
  let answered = Buffer.alloc(0)
  socket.on('data', chunk => {
    answered = Buffer.concat([answered, chunk])
  })
  for (const byte of Buffer.concat([PREFACE, SETTINGS])) {
    await new Promise(resolve => socket.write(Buffer.from([byte]), resolve))
    await new Promise(resolve => setImmediate(resolve))
  }
  await until(() => answered.length >= 9, 'SETTINGS')
  assert.equal(answered[3], 4, "the first frame is the server's SETTINGS")
  socket.destroy()
})

test('an HTTP/1.1 request that arrives byte by byte is answered', async () => {
  const { url } = await start()
  const text = 'PUT /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi'
  const answer = await exchange(url, [...text], 2_000)
  assert.match(answer, /^HTTP\/1\.1 200 .*1\.1 PUT \/x hi$/s)
})

for (const method of ['PROPFIND', 'PROPPATCH', 'PUT', 'POST', 'PATCH', 'PURGE']) {
  test(`${method} begins like HTTP/2's preface and is not taken for it`, async () => {
    const { url } = await start()
    assert.equal((await callHttp1(url, { method, path: '/p', body: 'b' })).body.toString(), `1.1 ${method} /p b`)
  })
}

for (const beginning of ['', 'P', 'PR', 'PRI']) {
  test(`a connection that stops after "${beginning}" is cut off within the headers timeout`, async () => {
    const { url } = await start()
    const startMs = performance.now()
    assert.equal(await exchange(url, [beginning], 2_000), '')
    assert.ok(performance.now() - startMs < 600)
  })
}

test('a connection that ends before it said anything does no harm', async () => {
  const { url } = await start()
  for (let i = 0; i < 20; i++) net.connect(Number(new URL(url).port), '127.0.0.1').end('P')
  assert.equal((await callHttp1(url, { body: 'b' })).status, 200)
})

test('an idle HTTP/2 session is closed after the idle timeout, a busy one is not', async () => {
  const { url } = await start()
  const session = http2.connect(url)
  const closed = new Promise<number>(resolve => session.on('close', () => resolve(performance.now())))
  for (let i = 0; i < 3; i++) {
    const stream = session.request({ ':path': '/' })
    await new Promise(resolve => stream.resume().on('end', resolve))
  }
  const idleSinceMs = performance.now()
  const idleMs = (await closed) - idleSinceMs
  assert.ok(idleMs > 200 && idleMs < 1_500, `closed after ${idleMs} ms`)
})

test('a long-lived HTTP/2 session with many requests one after the other gathers no listeners', async () => {
  const warnings: string[] = []
  const onWarning = (warning: Error) => warnings.push(warning.message)
  process.on('warning', onWarning)
  const { url } = await start()
  const session = http2.connect(url)
  for (let i = 0; i < 30; i++) {
    const stream = session.request({ ':path': '/' })
    await new Promise(resolve => stream.resume().on('close', resolve))
  }
  session.destroy()
  await new Promise(resolve => setImmediate(resolve))
  process.off('warning', onWarning)
  assert.deepEqual(warnings, [])
})

test('close() ends idle HTTP/1.1 and HTTP/2 connections and finishes at once', async () => {
  const { server, url } = await start({ idleTimeoutMs: 60_000 })
  const session = http2.connect(url)
  const stream = session.request({ ':path': '/' })
  await new Promise(resolve => stream.resume().on('close', resolve))
  const agent = new http.Agent({ keepAlive: true })
  await new Promise(resolve => http.get(url, { agent }, response => response.resume().on('end', resolve)))
  const startMs = performance.now()
  await new Promise<void>(resolve => server.close(() => resolve()))
  assert.ok(performance.now() - startMs < 500)
  agent.destroy()
})

test('close() does not wait for connections that have said nothing yet', async () => {
  const { server, url } = await start({ headersTimeoutMs: 3_000, requestTimeoutMs: 10_000 })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  socket.on('error', () => {})
  await new Promise(resolve => socket.on('connect', resolve))
  await callHttp1(url, { body: 'b' })
  const startMs = performance.now()
  await new Promise<void>(resolve => server.close(() => resolve()))
  assert.ok(performance.now() - startMs < 500, `took ${Math.round(performance.now() - startMs)} ms`)
})

test('closeAllConnections() cuts connections that have said nothing yet', async () => {
  const { server, url } = await start({ headersTimeoutMs: 3_000, requestTimeoutMs: 10_000 })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  let closed = false
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  await new Promise(resolve => socket.on('connect', resolve))
  await callHttp1(url, { body: 'b' })
  server.closeAllConnections()
  await until(() => closed, 'the silent connection is cut', 1_000)
})

test('a connection more than the bound is closed at once, and one that ends makes room', async () => {
  const { url } = await start({ maxConnections: 2 })
  const open = () => net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  const [first, second] = [open(), open()]
  await Promise.all([first, second].map(socket => new Promise(resolve => socket.on('connect', resolve))))
  await assert.rejects(callHttp1(url, { body: 'b' }), /ECONNRESET|hang up/)
  first.destroy()
  await until(async () => (await callHttp1(url, { body: 'b' }).catch(() => undefined))?.status === 200, 'room again')
  second.destroy()
})
