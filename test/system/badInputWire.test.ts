// Bytes that are no HTTP, or are meant to be read twice in two ways: answered once in Bedrock's shape or hung up on, in
// bounded time, and never forwarded.
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import { after, afterEach, before, test } from 'node:test'
import fc from 'fast-check'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import {
  assertRefusalBesideId,
  CONVERSE,
  call,
  exchange,
  HELLO,
  parseAnswer,
  useTestCredentials,
} from '../support/wire.ts'

const HEADERS_TIMEOUT_MS = 300
const POST = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\n`

let bedrock: FakeBedrock
let sluice: TestSluice

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{}'))
  const limits = `headersTimeoutMs: ${HEADERS_TIMEOUT_MS}, requestTimeoutMs: 600, idleTimeoutMs: 600`
  sluice = await startTestSluice(oneModel(bedrock.url, '', `server: { maxHeaderBytes: 8192, ${limits} }`))
})

after(async () => {
  await bedrock.close()
  await sluice.stop(0)
})

afterEach(async () => {
  assert.deepEqual(bedrock.seen, [], 'nothing was forwarded')
  assert.equal((await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/healthz' })).status, 200)
  assert.equal((await call('HTTP/2', sluice.url, { method: 'GET', path: '/healthz' })).status, 200)
})

const MALFORMED: Record<string, string | Buffer> = {
  'random bytes': Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0xff, 0x0d, 0x0a, 0x0d, 0x0a]),
  'a TLS hello on the plain port': Buffer.from('16030100c8010000c40303'.padEnd(120, '0'), 'hex'),
  'a method that is none': 'FROBNICATE / HTTP/1.1\r\nHost: h\r\n\r\n',
  'a header without a colon': `${POST}no colon here\r\n\r\n`,
  'a space before the colon': `${POST}Content-Length : 5\r\n\r\nhello`,
  'a null byte in a header': `${POST}X-A: a\0b\r\n\r\n`,
  'two content-lengths that differ': `${POST}Content-Length: 5\r\nContent-Length: 50\r\n\r\n${HELLO}`,
  'two content-lengths that agree': `${POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`,
  'a content-length with a sign': `${POST}Content-Length: +5\r\n\r\nhello`,
  'a content-length that is negative': `${POST}Content-Length: -1\r\n\r\n`,
  'both content-length and transfer-encoding': `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
  'transfer-encoding before content-length': `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  'a transfer-encoding that only looks chunked': `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'chunked that is not the last encoding': `${POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  'a folded header': `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  'a bare LF for a line end': `POST ${CONVERSE} HTTP/1.1\nHost: h\nContent-Length: 2\n\n{}`,
  'no host, which HTTP/1.1 demands': `POST ${CONVERSE} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}`,
  'an HTTP version from the future': `POST ${CONVERSE} HTTP/9.9\r\nHost: h\r\n\r\n`,
}

for (const [what, bytes] of Object.entries(MALFORMED)) {
  test(`${what} is answered with 400 in Bedrock's shape, once, and hung up on`, async () => {
    const text = await exchange(sluice.url, [bytes], 2_000)
    const answer = parseAnswer(text)
    assertRefusalBesideId(answer, { status: 400, exception: 'ValidationException', code: 'malformed-request' })
    assert.equal(text.split('HTTP/1.1 ').length, 2, 'one answer')
    assert.equal(answer.headers.connection, 'close')
  })
}

test('the answer to bytes that are no request carries a request id to report it by', async () => {
  const { headers } = parseAnswer(await exchange(sluice.url, ['FROBNICATE / HTTP/1.1\r\n\r\n'], 2_000))
  assert.match(String(headers['x-amzn-requestid']), /^[0-9a-f-]{36}$/)
})

test('a chunk size that is no number, in the middle of a body, is not forwarded and hung up on', async () => {
  const bytes = `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n`
  await exchange(sluice.url, [bytes], 2_000)
})

test('a body that ends before its content-length is not forwarded', async () => {
  await exchange(sluice.url, [`${POST}Content-Length: 5000\r\n\r\n${HELLO}`], 3_000)
})

test('headers larger than the limit are answered with 431', async () => {
  const answer = parseAnswer(await exchange(sluice.url, [`${POST}X-A: ${'a'.repeat(20_000)}\r\n\r\n`], 2_000))
  assertRefusalBesideId(answer, { status: 431, exception: 'ValidationException', code: 'malformed-request' })
})

test('ten thousand small headers are answered with 431', async () => {
  const answer = parseAnswer(await exchange(sluice.url, [`${POST}${'a: b\r\n'.repeat(10_000)}\r\n`], 2_000))
  assertRefusalBesideId(answer, { status: 431, exception: 'ValidationException', code: 'malformed-request' })
})

test('a URL larger than the limit is answered with 431', async () => {
  const line = `POST /model/${'a'.repeat(20_000)}/converse HTTP/1.1\r\nHost: h\r\n\r\n`
  const answer = parseAnswer(await exchange(sluice.url, [line], 2_000))
  assertRefusalBesideId(answer, { status: 431, exception: 'ValidationException', code: 'malformed-request' })
})

test('headers that never end are answered with 408 within twice the timeout, and hung up on', async () => {
  const startMs = performance.now()
  const answer = parseAnswer(await exchange(sluice.url, [`${POST}X-Slow: `], 2_000))
  assertRefusalBesideId(answer, { status: 408, exception: 'ValidationException', code: 'malformed-request' })
  assert.ok(performance.now() - startMs < 2 * HEADERS_TIMEOUT_MS + 200)
})

test('a body that never ends is hung up on within the request timeout', async () => {
  await exchange(sluice.url, [`${POST}Content-Length: 100\r\n\r\n{`], 2_000)
})

test('a connection that says nothing is hung up on within the headers timeout', async () => {
  const startMs = performance.now()
  assert.equal(await exchange(sluice.url, [], 2_000), '')
  assert.ok(performance.now() - startMs < 2 * HEADERS_TIMEOUT_MS)
})

test('a CONNECT is hung up on: Sluice is no open proxy', async () => {
  assert.doesNotMatch(
    await exchange(sluice.url, ['CONNECT example.com:443 HTTP/1.1\r\nHost: h\r\n\r\n'], 2_000),
    / 200 /,
  )
})

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const SETTINGS = Buffer.from('000000040000000000', 'hex')
const frame = (type: number, flags: number, stream: number, payload: Buffer) => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}
const HTTP2: Record<string, (string | Buffer)[]> = {
  'garbage after the preface': [PREFACE, Buffer.alloc(64, 0xee)],
  'an HTTP/1.1 request after the preface': [PREFACE, 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'],
  'a preface that goes wrong half-way': ['PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'],
  'a preface that stops half-way': ['PRI * HTT'],
  'a preface and then nothing': [PREFACE],
  'a frame longer than allowed': [PREFACE, SETTINGS, frame(0, 0, 1, Buffer.alloc(20_000))],
  'DATA for a stream that was never opened': [PREFACE, SETTINGS, frame(0, 0, 5, Buffer.from('x'))],
  'HEADERS that are no HPACK': [PREFACE, SETTINGS, frame(1, 5, 1, Buffer.alloc(32, 0xff))],
  'HEADERS of an even stream': [PREFACE, SETTINGS, frame(1, 5, 2, Buffer.from([0x82, 0x84, 0x86]))],
  'HEADERS that never end': [PREFACE, SETTINGS, frame(1, 0, 1, Buffer.from([0x82, 0x84, 0x86]))],
  'SETTINGS of a wrong length': [PREFACE, frame(4, 0, 0, Buffer.alloc(5))],
  'a WINDOW_UPDATE of zero': [PREFACE, SETTINGS, frame(8, 0, 0, Buffer.alloc(4))],
}

for (const [what, pieces] of Object.entries(HTTP2)) {
  test(`HTTP/2: ${what} is hung up on`, async () => {
    await exchange(sluice.url, pieces, 3_000)
  })
}

for (const when of ['once the limit is acknowledged', 'before the limit is acknowledged']) {
  test(`HTTP/2: headers larger than the limit are refused ${when}`, async () => {
    const session = http2.connect(sluice.url)
    session.on('error', () => {})
    if (when.startsWith('once')) await new Promise(resolve => session.once('remoteSettings', resolve))
    const head = { ':method': 'POST', ':path': CONVERSE, 'x-large': 'a'.repeat(20_000) }
    const stream = session.request(head, { endStream: true })
    const status = await new Promise<number | undefined>(resolve => {
      stream.on('response', headers => resolve(headers[':status']))
      stream.on('error', () => resolve(undefined))
      stream.on('close', () => resolve(undefined))
    })
    session.destroy()
    assert.ok(status === undefined || status === 431, `expected a reset or 431, not ${status}`)
  })
}

test('HTTP/2: a request whose body never ends is ended within the request timeout', async () => {
  const session = http2.connect(sluice.url)
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': CONVERSE })
  stream.on('error', () => {})
  stream.resume()
  stream.write('{')
  const ended = await new Promise<boolean>(resolve => {
    const timer = setTimeout(() => resolve(false), 2_500)
    stream.on('close', () => {
      clearTimeout(timer)
      resolve(true)
    })
  })
  session.destroy()
  assert.ok(ended, 'the stream is still open after four times requestTimeoutMs')
})

test('two thousand connections of random bytes leave it answering', async () => {
  const start = fc.constantFrom('', 'GET / HTTP/1.1\r\n', POST, PREFACE, 'PRI', 'PRI * HTTP/2.0\r\n\r\n')
  const garbage = fc.tuple(start, fc.uint8Array({ maxLength: 200 }))
  const samples = fc.sample(garbage, { numRuns: 2_000, seed: 20_261_122 })
  const next = samples[Symbol.iterator]()
  const worker = async () => {
    for (const [head, bytes] of next) await exchange(sluice.url, [head, Buffer.from(bytes)], 5_000)
  }
  await Promise.all(Array.from({ length: 64 }, worker))
  assert.deepEqual(
    sluice.logged().filter(line => line.msg === 'fault'),
    [],
  )
})
