// Streams: on their way at once, held back when the reader is slow, stopped when it leaves, the same bytes throughout.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import { after, before, beforeEach, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, HELLO, PROTOCOLS, type Protocol, until, useTestCredentials } from '../support/wire.ts'

const EVENT_STREAM = 'application/vnd.amazon.eventstream'

let bedrock: FakeBedrock
let sluice: TestSluice
let respond: (response: http.ServerResponse) => void

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => respond(response))
  sluice = await startTestSluice(oneModel(bedrock.url, '', 'upstream: { idleTimeoutMs: 400 }'))
})

after(async () => {
  await bedrock.close()
  await sluice.stop(0)
})

beforeEach(() => {
  respond = response => response.end('{}')
})

interface Reading {
  /** What has come so far. */
  text(): string
  started(): boolean
  pause(): void
  resume(): void
  leave(): void
  ended(): boolean
}

function read(protocol: Protocol, path: string, body = HELLO): Reading {
  const chunks: Buffer[] = []
  let hasStarted = false
  let hasEnded = false
  let source: { pause(): unknown; resume(): unknown } | undefined
  const onData = (chunk: Buffer) => chunks.push(chunk)
  const onEnd = () => {
    hasEnded = true
  }
  let leave: () => void
  if (protocol === 'HTTP/1.1') {
    const request = http.request(sluice.url, { method: 'POST', path, agent: false })
    request.on('error', () => {})
    request.on('response', response => {
      hasStarted = true
      source = response
      response.on('error', () => {})
      response.on('data', onData).on('end', onEnd)
    })
    request.end(body)
    leave = () => request.destroy()
  } else {
    const session = http2.connect(sluice.url)
    session.on('error', () => {})
    const stream = session.request({ ':method': 'POST', ':path': path })
    source = stream
    stream.on('error', () => {})
    stream.on('response', () => {
      hasStarted = true
    })
    stream.on('data', onData).on('end', onEnd)
    stream.on('close', () => session.close())
    stream.end(body)
    leave = () => stream.close(http2.constants.NGHTTP2_CANCEL)
  }
  return {
    text: () => Buffer.concat(chunks).toString('latin1'),
    started: () => hasStarted,
    pause: () => source!.pause(),
    resume: () => source!.resume(),
    leave,
    ended: () => hasEnded,
  }
}

const SHAPES: [string, string, string][] = [
  ['an event stream', '/model/any.m/converse-stream', EVENT_STREAM],
  ["Anthropic's server-sent events", '/anthropic/v1/messages', 'text/event-stream'],
  ['a plain body', CONVERSE, 'application/json'],
]

for (const protocol of PROTOCOLS) {
  for (const [what, path, type] of SHAPES) {
    test(`${protocol}: of ${what} each chunk is with the client before the next one is sent`, async () => {
      let upstream: http.ServerResponse | undefined
      respond = response => {
        response.writeHead(200, { 'content-type': type })
        response.flushHeaders()
        upstream = response
      }
      // The Messages path names its model in the body; any catch-all id does.
      const body = path.startsWith('/anthropic') ? '{"model":"m","messages":[],"max_tokens":5}' : HELLO
      const reading = read(protocol, path, body)
      await until(() => reading.started(), 'the head alone arrives')
      let sent = ''
      for (const piece of ['one', 'two', 'three']) {
        upstream!.write(piece)
        sent += piece
        await until(() => reading.text() === sent, `${piece} arrives`)
      }
      upstream!.end()
      await until(() => reading.ended(), 'the end arrives')
    })
  }

  for (const when of ['before the first byte', 'in the middle of the answer']) {
    test(`${protocol}: a client that leaves ${when} stops the upstream within 100 ms`, async () => {
      let closedMs: number | undefined
      let isOpen = false
      respond = response => {
        if (when !== 'before the first byte') response.writeHead(200, { 'content-type': EVENT_STREAM }).write('x')
        isOpen = true
        response.on('close', () => {
          closedMs = performance.now()
        })
      }
      const reading = read(protocol, '/model/any.m/converse-stream')
      await until(() => isOpen && (when === 'before the first byte' || reading.text() === 'x'), 'it is under way')
      const leftMs = performance.now()
      reading.leave()
      await until(() => closedMs !== undefined, 'the upstream is stopped', 2_000)
      assert.ok(closedMs! - leftMs < 100, `after ${Math.round(closedMs! - leftMs)} ms`)
      await until(() => sluice.logged().at(-1)?.outcome === 'aborted', 'it is logged as aborted')
    })
  }

  test(`${protocol}: a client whose whole connection is gone stops the upstream within 100 ms`, async () => {
    let closedMs: number | undefined
    let isOpen = false
    respond = response => {
      isOpen = true
      response.on('close', () => {
        closedMs = performance.now()
      })
    }
    let vanish: () => void
    if (protocol === 'HTTP/2') {
      const session = http2.connect(sluice.url)
      session.on('error', () => {})
      const stream = session.request({ ':method': 'POST', ':path': CONVERSE })
      stream.on('error', () => {})
      stream.end(HELLO)
      vanish = () => session.destroy()
    } else vanish = read(protocol, CONVERSE).leave
    await until(() => isOpen, 'it is under way')
    const leftMs = performance.now()
    vanish()
    await until(() => closedMs !== undefined, 'the upstream is stopped', 2_000)
    assert.ok(closedMs! - leftMs < 100, `after ${Math.round(closedMs! - leftMs)} ms`)
  })

  test(`${protocol}: a reader that pauses longer than the idle timeout is not cut off: the silence is its own`, async () => {
    const answer = Buffer.alloc(8 * 1024 * 1024, 0x61)
    respond = response => response.writeHead(200, { 'content-type': EVENT_STREAM }).end(answer)
    const reading = read(protocol, '/model/any.m/converse-stream')
    await until(() => reading.started() && reading.text().length > 0, 'it has begun')
    reading.pause()
    const resumesMs = performance.now() + 1_200
    await until(() => performance.now() > resumesMs, 'three idle timeouts have passed')
    reading.resume()
    await until(() => reading.ended(), 'it comes to its end', 10_000)
    assert.equal(reading.text().length, answer.length)
  })

  test(`${protocol}: three megabytes of odd pieces arrive as the same bytes`, async () => {
    const pieces = Array.from({ length: 300 }, (_, i) => Buffer.alloc((i * 7919) % 20_000, i % 256))
    respond = response => {
      response.writeHead(200, { 'content-type': EVENT_STREAM })
      for (const piece of pieces) response.write(piece)
      response.end()
    }
    const reply = await call(protocol, sluice.url, { path: '/model/any.m/converse-stream' })
    assert.equal(reply.broken, false)
    assert.ok(Buffer.concat(pieces).equals(reply.body))
  })
}
