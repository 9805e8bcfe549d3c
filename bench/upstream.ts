// The bare upstream of the benchmark: a plain Node.js server that answers every call at once with fixed bytes.
import http from 'node:http'
import http2 from 'node:http2'
import type net from 'node:net'
import { EventStreamCodec } from '@smithy/core/event-streams'

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(20)
const USAGE = { inputTokens: 60, outputTokens: 200, totalTokens: 260 }
const ANSWER = Buffer.from(
  JSON.stringify({
    metrics: { latencyMs: 1 },
    output: { message: { content: [{ text: TEXT }], role: 'assistant' } },
    stopReason: 'end_turn',
    usage: USAGE,
  }),
)
const EVENTS = 20
const EVENT_GAP_MS = 10

const codec = new EventStreamCodec(
  bytes => Buffer.from(bytes).toString('utf8'),
  text => Buffer.from(text),
)

function frame(type: string, payload: object): Buffer {
  const value = (text: string) => ({ type: 'string' as const, value: text })
  const headers = {
    ':event-type': value(type),
    ':content-type': value('application/json'),
    ':message-type': value('event'),
  }
  return Buffer.from(codec.encode({ headers, body: Buffer.from(JSON.stringify(payload)) }))
}

const FIRST = frame('messageStart', { p: 'abc', role: 'assistant' })
const DELTA = frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'The quick brown fox' }, p: 'abcdef' })
const LAST = Buffer.concat([
  frame('contentBlockStop', { contentBlockIndex: 0, p: 'abc' }),
  frame('messageStop', { p: 'abc', stopReason: 'end_turn' }),
  frame('metadata', { metrics: { latencyMs: 1 }, p: 'abc', usage: USAGE }),
])

const WHOLE_HEADERS = {
  'content-type': 'application/json',
  'content-length': ANSWER.length,
  'x-amzn-requestid': '00000000-0000-0000-0000-000000000000',
}

/** First event at once, then one every gap, then the end. */
function paced(write: (bytes: Buffer) => void, end: () => void): void {
  write(FIRST)
  let sent = 0
  const timer = setInterval(() => {
    if (++sent < EVENTS) write(DELTA)
    else {
      clearInterval(timer)
      write(LAST)
      end()
    }
  }, EVENT_GAP_MS)
}

const http1 = http.createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  request.resume()
  request.on('end', () => {
    if (!request.url!.endsWith('/converse-stream')) {
      response.writeHead(200, WHOLE_HEADERS)
      response.end(ANSWER)
      return
    }
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    paced(
      bytes => response.write(bytes),
      () => response.end(),
    )
  })
})

const h2c = http2.createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    response.writeHead(200, WHOLE_HEADERS)
    response.end(ANSWER)
  })
})

http1.listen(0, '127.0.0.1', () =>
  h2c.listen(0, '127.0.0.1', () => {
    const port = (server: net.Server) => (server.address() as net.AddressInfo).port
    process.stdout.write(`${JSON.stringify({ http1: port(http1), h2c: port(h2c) })}\n`)
  }),
)
