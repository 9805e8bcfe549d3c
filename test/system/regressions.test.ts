// Bugs that reviews found and that no broader test would catch again: one test each, on real sockets, named by what the
// bug did to a client or an operator.
import assert from 'node:assert/strict'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRawUpstream } from '../support/rawUpstream.ts'
import { invocations, settledAfter, statusOf } from '../support/settled.ts'
import { CLAUDE } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, exchange, HELLO, PROTOCOLS, parseAnswer, until, useTestCredentials } from '../support/wire.ts'

const EVENT_STREAM = 'application/vnd.amazon.eventstream'
const THROTTLED = '{"message":"Too many tokens, please wait before trying again."}'
const THROTTLE_HEADERS = { 'x-amzn-errortype': 'ThrottlingException', 'content-type': 'application/json' }
const post = (version = '1.1', headers = '') =>
  `POST ${CONVERSE} HTTP/${version}\r\nHost: h\r\n${headers}Content-Length: ${HELLO.length}\r\n\r\n${HELLO}`
before(() => useTestCredentials())

/** Most of these bugs left somebody waiting for ever: a test then fails, and does not hang. */
function bounded(name: string, run: (t: TestContext) => Promise<void>): void {
  test(name, { timeout: 10_000 }, run)
}

async function start(t: TestContext, yaml: string): Promise<TestSluice> {
  const sluice = await startTestSluice(yaml)
  let running = true
  t.after(() => (running ? sluice.stop(0) : undefined))
  const stop = (graceMs: number) => {
    running = false
    return sluice.stop(graceMs)
  }
  return { ...sluice, stop }
}

async function bedrockThat(t: TestContext, respond: (response: http.ServerResponse) => void): Promise<FakeBedrock> {
  const bedrock = await startFakeBedrock((_request, response) => respond(response))
  t.after(() => bedrock.close())
  return bedrock
}

interface Wire {
  socket: Socket
  text(): string
  isClosed(): boolean
  /** Of the error it closed with. */
  code(): string | undefined
}

/** A bare connection that says `first` and keeps what comes back. */
function connect(t: TestContext, url: string, first: string): Wire {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  t.after(() => socket.destroy())
  let text = ''
  let isClosed = false
  let code: string | undefined
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code
  })
  socket.on('close', () => {
    isClosed = true
  })
  socket.write(first)
  return { socket, text: () => text, isClosed: () => isClosed, code: () => code }
}

const statusLines = (text: string) => text.split('HTTP/1.1 ').length - 1

bounded('garbage that a client sends while its answer streams puts no second status line into it', async t => {
  let upstream: http.ServerResponse | undefined
  const bedrock = await bedrockThat(t, response => {
    upstream = response
    response.writeHead(200, { 'content-type': EVENT_STREAM }).write('first piece')
  })
  const sluice = await start(t, oneModel(bedrock.url))
  const client = connect(t, sluice.url, post())
  await until(() => client.text().includes('first piece'), 'it streams')
  client.socket.write('FROBNICATE \0 garbage\r\n\r\n')
  await until(() => {
    upstream!.write('more')
    return client.isClosed()
  }, 'it is hung up on')
  assert.match(client.text(), /^HTTP\/1\.1 200 /)
  assert.equal(statusLines(client.text()), 1, client.text())
})

bounded('a client that takes no byte of its answer is cut off in time, and its upstream call stopped', async t => {
  let wasCut = false
  const bedrock = await bedrockThat(t, response => {
    response.on('close', () => {
      wasCut = !response.writableFinished
    })
    response.writeHead(200, { 'content-type': EVENT_STREAM }).end(Buffer.alloc(48 * 1024 * 1024, 0x61))
  })
  const sluice = await start(t, oneModel(bedrock.url, '', 'server: { stallTimeoutMs: 300 }'))
  const [line] = await settledAfter(sluice, 1, async () => {
    const client = connect(t, sluice.url, post())
    client.socket.pause()
    await until(() => wasCut, 'its upstream call is stopped')
    client.socket.resume()
    await until(() => client.isClosed(), 'its connection is closed')
  })
  assert.equal(line!.outcome, 'aborted')
})

bounded('a client that leaves before its call had a connection is charged nothing, and nothing is sent', async t => {
  let held: http.ServerResponse | undefined
  const bedrock = await bedrockThat(t, response => {
    if (held) response.end('{}')
    else held = response
  })
  const sluice = await start(t, oneModel(bedrock.url, '', 'upstream: { maxConnections: 1 }'))
  const first = call('HTTP/1.1', sluice.url)
  await until(() => held !== undefined, 'the only connection is busy')
  const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent: false })
  request.on('error', () => {})
  request.end(HELLO)
  await until(async () => (await statusOf(sluice)).models[0]!.inFlight === 2, 'the second has its turn')
  request.destroy()
  await until(() => invocations(sluice).length === 1, 'the one that left is logged')
  const [line] = invocations(sluice)
  assert.ok(line!.reservedTokens > 0)
  assert.deepEqual([line!.outcome, line!.chargedTokens], ['aborted', 0])
  held!.end('{}')
  assert.equal((await first).status, 200)
  assert.equal((await call('HTTP/1.1', sluice.url)).status, 200)
  assert.equal(bedrock.seen.length, 2, 'the first and the third')
})

for (const protocol of PROTOCOLS) {
  bounded(`${protocol}: an upstream that says Date and Content-Type twice is answered on, whole`, async t => {
    const twice = 'Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n'.repeat(2)
    const upstream = await startRawUpstream(socket =>
      socket.write(`HTTP/1.1 200 OK\r\n${twice}Content-Length: 12\r\n\r\n{"answer":1}`),
    )
    t.after(() => upstream.close())
    const sluice = await start(t, oneModel(upstream.url))
    const reply = await call(protocol, sluice.url)
    assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [200, '{"answer":1}', false])
    assert.match(String(reply.headers['content-type']), /^application\/json/)
  })

  bounded(`${protocol}: x-sluice- headers that the upstream says are not taken for Sluice's own`, async t => {
    const bedrock = await bedrockThat(t, response => {
      const headers = { 'x-sluice-pool': 'forged', 'X-Sluice-Refusal': 'queue-full', 'x-sluice-other': 'forged' }
      response.writeHead(200, { ...headers, 'x-amzn-other': 'kept' }).end('{}')
    })
    const sluice = await start(t, oneModel(bedrock.url))
    const { headers } = await call(protocol, sluice.url)
    assert.deepEqual([headers['x-sluice-pool'], headers['x-amzn-other']], ['only', 'kept'])
    assert.deepEqual([headers['x-sluice-refusal'], headers['x-sluice-other']], [undefined, undefined])
  })

  bounded(`${protocol}: a spent day's quota is told at once, after one send, in Bedrock's own words`, async t => {
    const body = '{"message":"Too many tokens per day, please wait before trying again."}'
    const bedrock = await bedrockThat(t, response => {
      response.writeHead(429, { ...THROTTLE_HEADERS, 'x-amzn-requestid': 'of-bedrock' }).end(body)
    })
    const sluice = await start(t, oneModel(bedrock.url))
    const [line] = await settledAfter(sluice, 1, async () => {
      const reply = await call(protocol, sluice.url)
      assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [429, body, false])
      assert.equal(reply.headers['x-amzn-errortype'], 'ThrottlingException')
      assert.equal(reply.headers['x-amzn-requestid'], 'of-bedrock')
      assert.equal(reply.headers['retry-after'], undefined, 'no promise that a moment would help')
    })
    assert.equal(bedrock.seen.length, 1)
    assert.deepEqual([line!.outcome, line!.status, line!.chargedTokens], ['answered', 429, 0])
  })
}

bounded("a throttle that is handed on carries one retry-after: ours, not the upstream's beside it", async t => {
  const bedrock = await bedrockThat(t, response => {
    response.writeHead(429, { ...THROTTLE_HEADERS, 'Retry-After': '7777', 'content-length': THROTTLED.length })
    response.end(THROTTLED)
  })
  const sluice = await start(t, oneModel(bedrock.url))
  const text = await exchange(sluice.url, [post('1.1', 'Connection: close\r\nx-sluice-max-wait-ms: 50\r\n')])
  const answer = parseAnswer(text)
  assert.deepEqual([answer.status, answer.body], [429, THROTTLED])
  assert.equal(text.match(/^retry-after:/gim)?.length, 1, text)
  assert.ok(Number(answer.headers['retry-after']) < 7777, text)
  assert.equal(bedrock.seen.length, 1)
})

bounded('two pipelined requests are both answered when the stop begins while the first runs', async t => {
  const held = new Map<string, http.ServerResponse>()
  // Which of the two comes first is not for sure: each has a connection of its own.
  const bedrock = await bedrockThat(t, response => held.set(response.req.url!, response))
  const sluice = await start(t, oneModel(bedrock.url))
  const to = (path: string) => post().replace(CONVERSE, path)
  const client = connect(t, sluice.url, to('/model/first/converse') + to('/model/second/converse'))
  await until(() => held.size === 2, 'both run')
  const stopped = sluice.stop(5_000)
  await until(() => refuses(sluice.url), 'the stop has begun')
  held.get('/model/first/converse')!.end('{"answer":1}')
  await until(() => client.text().includes('{"answer":1}'), 'the first is answered', 2_000)
  held.get('/model/second/converse')!.end('{"answer":2}')
  await until(() => client.isClosed(), 'the connection ends', 2_000)
  assert.match(client.text(), /"answer":1.*"answer":2/s)
  assert.equal(statusLines(client.text()), 2, client.text())
  assert.equal(await stopped, 0, 'nothing was cut')
})

async function refuses(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  const refused = await new Promise<boolean>(resolve => {
    socket.on('connect', () => resolve(false))
    socket.on('error', () => resolve(true))
  })
  socket.destroy()
  return refused
}

bounded('an HTTP/1.0 client, who knows no chunks, sees a reset and no clean end when its answer is cut', async t => {
  let upstream: http.ServerResponse | undefined
  const bedrock = await bedrockThat(t, response => {
    upstream = response
    response.writeHead(200, { 'content-type': EVENT_STREAM }).write('half')
  })
  const sluice = await start(t, oneModel(bedrock.url))
  const client = connect(t, sluice.url, post('1.0'))
  await until(() => client.text().endsWith('half'), 'half of it arrives')
  upstream!.destroy()
  await until(() => client.isClosed(), 'its connection is closed')
  assert.equal(client.code(), 'ECONNRESET')
})

bounded('sends and throttles are counted on the pool where they happened, not on the one that answered', async t => {
  const asked: string[] = []
  const pools = await Promise.all(
    ['one', 'two'].map(async name => {
      const { url } = await bedrockThat(t, response => {
        asked.push(name)
        if (asked.length === 1) response.writeHead(429, THROTTLE_HEADERS).end(THROTTLED)
        else response.end('{"usage":{"inputTokens":3,"outputTokens":2}}')
      })
      return `{ name: ${name}, region: us-east-1, endpoint: "${url}", tokensPerMinute: 60000000 }`
    }),
  )
  const sluice = await start(t, `models: [{ name: any, modelIds: ["*"], pools: [${pools.join(', ')}] }]`)
  await settledAfter(sluice, 1, async () => {
    assert.equal((await call('HTTP/1.1', sluice.url)).status, 200)
  })
  const [throttler, answerer] = asked
  assert.deepEqual([throttler, answerer].toSorted(), ['one', 'two'])
  const metrics = (await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/metrics' })).body.toString()
  const counted = (name: string) =>
    Object.fromEntries(
      [...metrics.matchAll(new RegExp(`^${name}\\{.*?pool="(\\w+)".*?\\} (\\d+)$`, 'gm'))].map(([, pool, n]) => [
        pool,
        n,
      ]),
    )
  assert.deepEqual(counted('sluice_upstream_throttles_total'), { [throttler!]: '1', [answerer!]: '0' })
  assert.deepEqual(counted('sluice_upstream_sends_total'), { [throttler!]: '1', [answerer!]: '1' })
})

bounded('a stream that ends in an exception frame is logged with that exception', async t => {
  const latency = '{ firstTokenMs: 0, perTokenMs: 0, jitter: 0 }'
  const rest = `simulator: { latency: ${latency}, faults: { streamExceptionRate: 1 } }`
  const sluice = await start(t, oneModel('simulator', '', rest))
  let body = ''
  await settledAfter(sluice, 1, async () => {
    const reply = await call('HTTP/1.1', sluice.url, { path: `/model/${CLAUDE}/converse-stream` })
    assert.equal(reply.status, 200)
    body = reply.body.toString('latin1')
  })
  // Type 7 and two bytes of length stand between a header's name and its value.
  const named = /:exception-type.{3}([a-z]+Exception)/is.exec(body)?.[1]
  assert.ok(named, body)
  assert.equal(sluice.logged().find(one => one.msg === 'invocation')?.exception, named)
})
