// Bodies that are too large, refused before they have all arrived: the client that is still sending gets to read why.
import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import {
  assertRefusal,
  CONVERSE,
  call,
  HELLO,
  PROTOCOLS,
  parseAnswer,
  type Reply,
  until,
  useTestCredentials,
} from '../support/wire.ts'

const LIMIT = 25 * 1024 * 1024
const TOO_LARGE = { status: 413, exception: 'ValidationException', code: 'body-too-large' }

let bedrock: FakeBedrock
let sluice: TestSluice

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{}'))
  sluice = await startTestSluice(oneModel(bedrock.url))
})

after(async () => {
  await bedrock.close()
  await sluice.stop(0)
})

beforeEach(() => {
  bedrock.seen.length = 0
})

/** A JSON body of exactly `bytes`, random inside, so that any re-encoding would show. */
function bodyOf(bytes: number): Buffer {
  const frame = '{"messages":[],"s":""}'
  const noise = randomBytes(Math.ceil(bytes / 2)).toString('hex')
  return Buffer.from(`{"messages":[],"s":"${noise.slice(0, bytes - frame.length)}"}`)
}

/** Keeps sending, without a content-length, until the answer is there. */
function sendForEver(protocol: 'HTTP/1.1' | 'HTTP/2'): Promise<Pick<Reply, 'status' | 'headers' | 'body'>> {
  const chunk = Buffer.alloc(256 * 1024, 0x20)
  return new Promise((resolve, reject) => {
    if (protocol === 'HTTP/1.1') {
      const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent: false })
      request.on('error', reject)
      const more = () => {
        while (!request.destroyed && request.write(chunk));
      }
      request.on('drain', more)
      request.on('response', response => {
        const parts: Buffer[] = []
        response.on('data', part => parts.push(part))
        response.on('end', () => {
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) })
          request.destroy()
        })
      })
      more()
      return
    }
    const session = http2.connect(sluice.url)
    session.on('error', reject)
    const stream = session.request({ ':method': 'POST', ':path': CONVERSE })
    stream.on('error', reject)
    const more = () => {
      while (!stream.destroyed && stream.write(chunk));
    }
    stream.on('drain', more)
    stream.on('response', headers => {
      const parts: Buffer[] = []
      stream.on('data', part => parts.push(part))
      stream.on('end', () => {
        resolve({ status: Number(headers[':status']), headers, body: Buffer.concat(parts) })
        session.destroy()
      })
    })
    more()
  })
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a body of exactly the limit arrives at Bedrock byte for byte`, async () => {
    const body = bodyOf(LIMIT)
    assert.equal(body.length, LIMIT)
    const reply = await call(protocol, sluice.url, { body })
    assert.equal(reply.status, 200)
    assert.equal(hash('sha256', bedrock.seen[0]!.body), hash('sha256', body))
  })

  test(`${protocol}: one byte more, announced, is refused`, async () => {
    const body = bodyOf(LIMIT + 1)
    const reply = await call(protocol, sluice.url, { body, headers: { 'content-length': String(body.length) } })
    assert.match(assertRefusal(reply, TOO_LARGE), /26214400 bytes/)
    assert.equal(bedrock.seen.length, 0)
  })

  test(`${protocol}: a body without a length is refused once it is over the limit, and its sender reads why`, async () => {
    assertRefusal(await sendForEver(protocol), TOO_LARGE)
    assert.equal(bedrock.seen.length, 0)
  })
}

test('a declared length over the limit is refused before the body is sent', async () => {
  const { hostname, port } = new URL(sluice.url)
  const socket = net.connect(Number(port), hostname)
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  socket.write(`POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\n`)
  await until(() => text.includes('}'), 'an answer')
  assertRefusal({ ...parseAnswer(text), body: Buffer.from(parseAnswer(text).body) }, TOO_LARGE)
  socket.destroy()
})

test('a sender that reads only after it has sent 30 MB is not reset before it can read the refusal', async () => {
  const body = Buffer.alloc(30 * 1024 * 1024, 0x20)
  const reply = await call('HTTP/1.1', sluice.url, { body })
  assertRefusal(reply, TOO_LARGE)
})

test('a refused upload leaves its connection fit for the next request', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const send = (body: Buffer) =>
    new Promise<number>((resolve, reject) => {
      const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent }, response => {
        response.resume().on('end', () => resolve(response.statusCode!))
      })
      request.on('error', reject)
      request.end(body)
    })
  assert.equal(await send(Buffer.alloc(LIMIT + 1024, 0x20)), 413)
  assert.equal(await send(Buffer.from(HELLO)), 200)
  agent.destroy()
})

test('a request that waits for "100 Continue" gets it, and its answer', async () => {
  const status = await new Promise<number>((resolve, reject) => {
    const headers = { expect: '100-continue', 'content-length': String(HELLO.length) }
    const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent: false, headers })
    request.on('continue', () => request.end(HELLO))
    request.on('error', reject)
    request.on('response', response => response.resume().on('end', () => resolve(response.statusCode!)))
    request.flushHeaders()
  })
  assert.equal(status, 200)
})
