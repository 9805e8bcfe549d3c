import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../../src/system.ts'
import { createOnePort, type OnePortOptions } from '../../src/transport/onePort.ts'
import { VirtualClock } from '../support/virtualClock.ts'
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

test('close() ends idle HTTP/2 connections at once; an idle HTTP/1.1 one may bring a last request for a second', async () => {
  const clock = new VirtualClock()
  const { server, url } = await start({ clock, idleTimeoutMs: 60_000 })
  const session = http2.connect(url)
  const stream = session.request({ ':path': '/' })
  await new Promise(resolve => stream.resume().on('close', resolve))
  const goneH2 = new Promise(resolve => session.on('close', resolve))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Set<net.Socket>()
  const get = () =>
    new Promise<number>((resolve, reject) =>
      http
        .get(url, { agent }, response => {
          sockets.add(response.socket)
          response.resume().on('end', () => resolve(response.statusCode!))
        })
        .on('error', reject),
    )
  assert.equal(await get(), 200)
  let isClosed = false
  const closed = new Promise<void>(resolve => server.close(() => resolve())).then(() => {
    isClosed = true
  })
  await goneH2
  await clock.advance(900)
  assert.equal(isClosed, false)
  assert.equal(await get(), 200)
  assert.equal(sockets.size, 1, 'on the same connection')
  // The answer has said that it was the last.
  await closed
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

test('a preface that drips buys no time beyond the headers timeout', async () => {
  const { url } = await start({ headersTimeoutMs: 400 })
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  let sent = 0
  const drip = () => void (socket.destroyed || socket.write('PRI'[sent++]!))
  drip()
  const timer = setInterval(drip, 300)
  await new Promise(resolve => socket.resume().on('close', resolve))
  clearInterval(timer)
  assert.equal(sent, 2, 'cut off before its third byte was due')
})

for (const requests of [0, 1]) {
  test(`an HTTP/2 session that only sends PINGs after ${requests} requests is closed`, async () => {
    const { url } = await start()
    const session = http2.connect(url)
    let closed = false
    session.on('close', () => {
      closed = true
    })
    await new Promise(resolve => session.on('connect', resolve))
    for (let i = 0; i < requests; i++) {
      const stream = session.request({ ':path': '/' })
      await new Promise(resolve => stream.resume().on('end', resolve))
    }
    const timer = setInterval(() => session.destroyed || session.ping(() => {}), 50)
    await until(() => closed, 'the session is closed').finally(() => {
      clearInterval(timer)
      session.destroy()
    })
  })
}

test('a client may take back all it has under way, twice; one that does nothing else loses its session, and only that', async () => {
  const { url } = await start({ idleTimeoutMs: 60_000 })
  const session = http2.connect(url)
  let isOver = false
  session.on('error', () => {})
  session.on('close', () => {
    isOver = true
  })
  await new Promise(resolve => session.on('connect', resolve))
  const takeBack = async (count: number) => {
    const streams = Array.from({ length: count }, () => session.request({ ':method': 'POST', ':path': '/' }))
    await Promise.all(
      streams.map(
        stream =>
          new Promise(resolve =>
            stream
              .on('error', () => {})
              .on('close', resolve)
              .close(8),
          ),
      ),
    )
  }
  for (let i = 0; i < 2; i++) await takeBack(256)
  const ping = await new Promise(resolve => session.ping(error => resolve(error)))
  assert.equal(ping, null, 'the session goes on')
  for (let i = 0; i < 10 && !isOver; i++) await takeBack(256).catch(() => {})
  await until(() => isOver, 'the session is ended')
  assert.equal((await callHttp2(url, { body: 'b' })).status, 200)
})

describe('connections of one address', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bound-'))
  after(() => rmSync(folder, { recursive: true }))
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost'],
  ])
  const isTlsPossible = made.status === 0
  const secure = () => ({ tls: { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') } })

  for (const kind of ['plain', 'TLS']) {
    const skip = kind === 'TLS' && !isTlsPossible ? 'openssl is not there to make a certificate' : false
    test(`${kind}: one more than the bound is closed at once, one that ends makes room`, { skip }, async () => {
      const perAddress = { most: 2, countedAs: (peer: string) => `network of ${peer}` }
      const { url } = await start({
        headersTimeoutMs: 20_000,
        requestTimeoutMs: 20_000,
        perAddress,
        ...(kind === 'TLS' && secure()),
      })
      const open = () => net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
      const [first, second] = [open(), open()]
      await Promise.all([first, second].map(socket => new Promise(resolve => socket.on('connect', resolve))))
      const third = open()
      await new Promise(resolve => third.resume().on('close', resolve))
      assert.ok(!first.destroyed && !second.destroyed)
      first.destroy()
      await until(async () => {
        const port = Number(new URL(url).port)
        const host = '127.0.0.1'
        const fourth =
          kind === 'TLS' ? tls.connect({ port, host, rejectUnauthorized: false }) : net.connect({ port, host })
        const isServed = await new Promise(resolve => {
          fourth.on('error', () => {}).on('close', () => resolve(false))
          fourth.on('data', () => resolve(true)).write('GARBAGE\r\n\r\n')
        })
        fourth.destroy()
        return isServed === true
      }, 'room again')
      second.destroy()
    })

    test(`${kind}: who is not counted, as a proxy is not, has no bound`, { skip }, async () => {
      const perAddress = { most: 1, countedAs: () => undefined }
      const { url } = await start({
        headersTimeoutMs: 20_000,
        requestTimeoutMs: 20_000,
        perAddress,
        ...(kind === 'TLS' && secure()),
      })
      const sockets = Array.from({ length: 5 }, () => net.connect(Number(new URL(url).port), '127.0.0.1'))
      let closed = 0
      for (const socket of sockets) socket.on('error', () => {}).on('close', () => closed++)
      await Promise.all(sockets.map(socket => new Promise(resolve => socket.on('connect', resolve))))
      sockets[0]!.end()
      await new Promise(resolve => sockets[0]!.resume().on('close', resolve))
      assert.equal(closed, 1)
      for (const socket of sockets) socket.destroy()
    })
  }
})
