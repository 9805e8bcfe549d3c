// A Bedrock that breaks: each break is told to the client as what it is, over both protocols, and settled exactly once.
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { type RawUpstream, REFUSED_URL, startRawUpstream } from '../support/rawUpstream.ts'
import { settledAfter } from '../support/settled.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { assertRefusal, call, PROTOCOLS, useTestCredentials } from '../support/wire.ts'

const TIMEOUTS = `
upstream: { connectTimeoutMs: 500, headersTimeoutMs: 300, idleTimeoutMs: 300 }
retries: { maxAttempts: 2, baseMs: 1, budgetPerS: 1000 }
breaker: { failures: 1000, failureShare: 1, minCalls: 100000 }`
const STREAM = '/model/any.model/converse-stream'
const OK = 'HTTP/1.1 200 OK\r\n'

let upstream: RawUpstream
let sluice: TestSluice
let respond: (socket: Socket) => void

before(async () => {
  useTestCredentials()
  upstream = await startRawUpstream(socket => respond(socket))
  sluice = await startTestSluice(oneModel(upstream.url, 'tokensPerMinute: 60000000', TIMEOUTS))
})

after(async () => {
  await upstream.close()
  await sluice.stop(0)
})

interface Fault {
  what: string
  respond: (socket: Socket) => void
  status: number
  exception: string
  code: string
}

const CUT = { status: 502, exception: 'ServiceUnavailableException', code: 'upstream-cut' }
const INVALID = { status: 502, exception: 'ServiceUnavailableException', code: 'upstream-invalid' }
const TIMEOUT = { status: 504, exception: 'ModelTimeoutException', code: 'upstream-timeout' }

const BEFORE_THE_HEAD: Fault[] = [
  { what: 'resets the connection', respond: socket => socket.resetAndDestroy(), ...CUT },
  { what: 'closes the connection', respond: socket => socket.end(), ...CUT },
  { what: 'stops in the middle of its head', respond: socket => socket.end(`${OK}Content-Type: appl`), ...CUT },
  { what: 'answers bytes that are no HTTP', respond: socket => socket.end('\x16\x03\x01 garbage\r\n\r\n'), ...INVALID },
  { what: 'answers a status that is no number', respond: socket => socket.end('HTTP/1.1 abc\r\n\r\n'), ...INVALID },
  {
    what: 'answers with two lengths',
    respond: socket => socket.end(`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`),
    ...CUT,
  },
  {
    what: 'answers headers without end',
    respond: socket => socket.write(`${OK}X-A: ${'a'.repeat(200_000)}`),
    ...INVALID,
  },
  {
    what: 'answers a head beyond 16 KB',
    respond: socket => socket.end(`${OK}X-A: ${'a'.repeat(20_000)}\r\nContent-Length: 2\r\n\r\n{}`),
    ...INVALID,
  },
  {
    what: 'gives interim answers alone',
    respond: socket => socket.write('HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n'.repeat(100)),
    ...INVALID,
  },
  { what: 'says nothing', respond: () => {}, ...TIMEOUT },
  { what: 'stops in the middle of its head and stays', respond: socket => socket.write(`${OK}Content-`), ...TIMEOUT },
]

for (const protocol of PROTOCOLS) {
  for (const { what, respond: misbehave, ...expected } of BEFORE_THE_HEAD) {
    test(`${protocol}: an upstream that ${what} is a ${expected.status} ${expected.exception}`, async () => {
      respond = misbehave
      const [line] = await settledAfter(sluice, 1, async () => {
        const reply = await call(protocol, sluice.url)
        const message = assertRefusal(reply, expected)
        assert.doesNotMatch(message, /127\.0\.0\.1|\d{5}/, "not the upstream's address")
        assert.equal(reply.headers['x-sluice-pool'], 'only')
        assert.equal(reply.broken, false)
      })
      assert.equal(line!.outcome, 'refused')
      assert.equal(line!.attempts, 2, 'sent again before the client heard of it')
      assert.equal(line!.chargedTokens, line!.reservedTokens, 'it was sent: Bedrock may have charged it')
    })
  }

  const EVENT = 'Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n'
  const CUTS: [string, (socket: Socket) => void][] = [
    ['behind its head', socket => socket.end(`${OK}Content-Length: 50\r\n\r\n`)],
    ['within its content-length', socket => socket.end(`${OK}Content-Length: 50\r\n\r\n{"half":`)],
    ['between two chunks', socket => socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`)],
    ['within a chunk of an event stream', socket => socket.end(`${OK}${EVENT}90\r\n\0\0\0\x90`)],
    ['by a reset', socket => socket.write(`${OK}${EVENT}5\r\nhello\r\n`, () => socket.resetAndDestroy())],
    ['by a chunk size that is none', socket => socket.write(`${OK}${EVENT}5\r\nhello\r\nZZ\r\n`)],
    ['by falling silent', socket => socket.write(`${OK}${EVENT}5\r\nhello\r\n`)],
  ]
  for (const [where, cut] of CUTS) {
    test(`${protocol}: an answer cut ${where} never looks whole to the client`, async () => {
      respond = cut
      const [line] = await settledAfter(sluice, 1, async () => {
        const reply = await call(protocol, sluice.url, { path: STREAM })
        assert.equal(reply.status, 200)
        assert.equal(reply.broken, true)
      })
      assert.deepEqual([line!.outcome, line!.status, line!.attempts], ['cut', 200, 1])
      assert.equal(line!.chargedTokens, line!.reservedTokens, 'usage unknown: the reservation stands')
    })
  }

  test(`${protocol}: an answer that ends with the connection, having no length, is handed on whole`, async () => {
    respond = socket => socket.end(`${OK}Content-Type: application/json\r\n\r\n{"a":1}`)
    await settledAfter(sluice, 1, async () => {
      const reply = await call(protocol, sluice.url)
      assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [200, '{"a":1}', false])
    })
  })

  test(`${protocol}: a 1xx before the answer is not taken for it`, async () => {
    respond = socket => socket.end(`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}Content-Length: 2\r\n\r\n{}`)
    const reply = await call(protocol, sluice.url)
    assert.deepEqual([reply.status, reply.body.toString()], [200, '{}'])
  })

  test(`${protocol}: a status beyond 599 is handed on or told as a broken upstream, and settled`, async () => {
    respond = socket => socket.end('HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\n{}')
    await settledAfter(sluice, 1, async () => {
      const reply = await call(protocol, sluice.url)
      assert.ok([799, 502].includes(reply.status), String(reply.status))
    })
  })

  test(`${protocol}: an upstream that refuses connections is a 502 and charges nothing`, async () => {
    const other = await startTestSluice(oneModel(REFUSED_URL, 'tokensPerMinute: 60000000', TIMEOUTS))
    const [line] = await settledAfter(other, 1, async () => {
      const message = assertRefusal(await call(protocol, other.url), {
        status: 502,
        exception: 'ServiceUnavailableException',
        code: 'upstream-unreachable',
      })
      assert.match(message, /ECONNREFUSED/)
    })
    assert.equal(line!.chargedTokens, 0)
    await other.stop(0)
  })

  test(`${protocol}: without AWS credentials the answer is a 502 that says so, nothing is sent or charged`, async () => {
    const sentBefore = upstream.requests
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) delete process.env[name]
    const other = await startTestSluice(oneModel(upstream.url, 'tokensPerMinute: 60000000', TIMEOUTS))
    try {
      const [line] = await settledAfter(other, 1, async () => {
        const message = assertRefusal(await call(protocol, other.url), {
          status: 502,
          exception: 'ServiceUnavailableException',
          code: 'upstream-unreachable',
        })
        assert.match(message, /no AWS credentials/)
      })
      assert.equal(line!.chargedTokens, 0)
      assert.equal(upstream.requests, sentBefore)
    } finally {
      useTestCredentials()
      await other.stop(0)
    }
  })
}

test('HTTP/2: an error too slow to hold back, with a head that HTTP/2 cannot carry, breaks its own request and no other', async () => {
  const twice = 'User-Agent: none of a server\r\n'.repeat(2)
  const patient = oneModel(upstream.url, 'tokensPerMinute: 60000000', 'retries: { maxAttempts: 1 }')
  const other = await startTestSluice(patient)
  respond = socket => socket.write(`HTTP/1.1 503 Slow\r\nContent-Length: 9\r\n${twice}\r\nhalf`)
  const [line] = await settledAfter(other, 1, async () => {
    assertRefusal(await call('HTTP/2', other.url), CUT)
  })
  assert.equal(line!.outcome, 'refused')
  await other.stop(0)
})
