// Bytes that are no request, behind requests that were: each has the answer that is its own, or none. A proxy that keeps its
// connections takes silence for a server that has failed, and asks it no more.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, callHttp1, exchange, parseAnswer, until, useTestCredentials } from '../support/wire.ts'

let bedrock: FakeBedrock
let sluice: TestSluice
let answer = () => {}

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((request, response) => {
    const end = () => void response.end('{}')
    if (request.url!.includes('slow')) answer = end
    else end()
  })
  const timeouts = 'headersTimeoutMs: 2000, requestTimeoutMs: 2000'
  sluice = await startTestSluice(oneModel(bedrock.url, '', `server: { ${timeouts} }`))
})
after(async () => {
  await sluice.stop(0)
  await bedrock.close()
})

const GOOD = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}`
const SLOW = GOOD.replace('any.model', 'slow.model')
const LARGE = `X-Large: ${'a'.repeat(20_000)}\r\n`
const FAULTY: Record<string, { bytes: string; status: number }> = {
  'a path beyond ASCII': { bytes: 'GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n', status: 400 },
  'a method nobody knows': { bytes: 'FOO /readyz HTTP/1.1\r\nHost: h\r\n\r\n', status: 400 },
  'a control character in a value': { bytes: 'GET /readyz HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n', status: 400 },
  'headers too large': { bytes: `GET /readyz HTTP/1.1\r\nHost: h\r\n${LARGE}${LARGE}\r\n`, status: 431 },
  'a body whose chunks are none': {
    bytes: `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n`,
    status: 400,
  },
  'a head that never ends': { bytes: 'GET /readyz HTTP/1.1\r\nHost: h\r\n', status: 408 },
}

for (const [what, { bytes, status }] of Object.entries(FAULTY)) {
  test(`${what}: ${status}, on a new connection and behind an answer alike`, async () => {
    assert.equal(parseAnswer(await exchange(sluice.url, [Buffer.from(bytes, 'latin1')])).status, status)
    const { socket, came, closed } = connect()
    socket.write(GOOD)
    await until(() => came().endsWith('{}'), 'the good request is answered')
    const before = came().length
    socket.write(bytes, 'latin1')
    await closed
    const { status: told, headers } = parseAnswer(came().slice(before))
    assert.equal(told, status)
    assert.equal(headers['x-sluice-refusal'], 'malformed-request')
    assert.equal(headers.connection, 'close')
  })
}

test('while a request waits for its answer, what is no request behind it is not answered in its place', async () => {
  const { socket, came, closed } = connect()
  socket.write(`${SLOW}FOO /readyz HTTP/1.1\r\nHost: h\r\n\r\n`)
  await closed
  assert.equal(came(), '')
  answer()
})

for (const [what, { first, rest }] of Object.entries({
  'its body': { first: GOOD.slice(0, -1), rest: GOOD.slice(-1) },
  'its head': { first: GOOD.slice(0, 40), rest: GOOD.slice(40) },
})) {
  test(`a request that has been told it was too slow is not sent to Bedrock when the end of ${what} comes after all`, async () => {
    const { socket, came, closed } = connect({ goesOn: true })
    socket.write(first)
    await until(() => came() !== '', 'it is answered')
    const before = bedrock.seen.length
    socket.write(rest)
    // Time enough for it to have been sent.
    for (let i = 0; i < 3; i++) assert.equal((await callHttp1(sluice.url)).status, 200)
    socket.end()
    await closed
    assert.equal(parseAnswer(came()).status, 408)
    assert.equal(bedrock.seen.length, before + 3)
  })
}

for (const [what, { head, rest }] of Object.entries({
  'whose body never comes': { head: 'Content-Length: 10', rest: '' },
  'whose chunks are none': { head: 'Transfer-Encoding: chunked', rest: 'xyz\r\n' },
})) {
  test(`a request that was answered before it had come whole, and ${what}, has no second answer`, async () => {
    const { socket, came, closed } = connect()
    socket.write(`GET /healthz HTTP/1.1\r\nHost: h\r\n${head}\r\n\r\n`)
    await until(() => came() !== '', 'it is answered')
    socket.write(rest)
    await closed
    assert.deepEqual(came().match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200'])
  })
}

test('a client that still sends its body gets to read why nobody wants it', async () => {
  const { socket, came, closed } = connect()
  const body = Buffer.alloc(64 * 1024)
  let sent = 0
  // Reads nothing until it has sent all, as a proxy does.
  socket.pause()
  socket.write(
    `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\nContent-Length: ${100 * body.length}\r\n\r\n`,
    'latin1',
  )
  const send = () => {
    sent += 1
    if (sent <= 100) socket.write(body, () => setImmediate(send))
    else socket.resume()
  }
  send()
  await closed
  assert.equal(parseAnswer(came()).status, 400, `${sent} pieces were sent`)
})

/** `goesOn`: as clients do that send on though the far end has ended its half. */
function connect({ goesOn = false } = {}) {
  const { hostname, port } = new URL(sluice.url)
  const socket = net.connect({ port: Number(port), host: hostname, allowHalfOpen: goesOn })
  let text = ''
  socket.setEncoding('latin1').on('data', chunk => {
    text += chunk
  })
  socket.on('error', () => {})
  socket.setNoDelay(true)
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  return { socket, came: () => text, closed }
}
