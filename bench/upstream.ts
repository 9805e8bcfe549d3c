// The bare upstream of the benchmark: answers every call at once with fixed bytes, so that what is measured is the proxy.
// HTTP/1.1 is spoken straight on sockets, because a full server would be slower than some of the proxies in front of it.
import http2 from 'node:http2'
import net from 'node:net'
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

const WHOLE = Buffer.concat([
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: 00000000-0000-0000-0000-000000000000\r\n` +
      `connection: keep-alive\r\ncontent-length: ${ANSWER.length}\r\n\r\n`,
  ),
  ANSWER,
])
const STREAM_HEAD =
  'HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n'

const chunk = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])

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

const http1 = net.createServer({ noDelay: true }, socket => {
  let pending: Buffer = Buffer.alloc(0)
  socket.on('error', () => socket.destroy())
  socket.on('data', (data: Buffer) => {
    pending = pending.length === 0 ? data : Buffer.concat([pending, data])
    for (;;) {
      const headEnd = pending.indexOf('\r\n\r\n')
      if (headEnd < 0) return
      const head = pending.toString('latin1', 0, headEnd)
      const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      if (pending.length < headEnd + 4 + length) return
      pending = pending.subarray(headEnd + 4 + length)
      if (!/^POST \S*converse-stream /.test(head)) socket.write(WHOLE)
      else {
        socket.write(STREAM_HEAD)
        paced(
          bytes => socket.write(chunk(bytes)),
          () => socket.write('0\r\n\r\n'),
        )
      }
    }
  })
})

const h2c = http2.createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length })
    response.end(ANSWER)
  })
})

http1.listen(0, '127.0.0.1', () =>
  h2c.listen(0, '127.0.0.1', () => {
    const port = (server: net.Server) => (server.address() as net.AddressInfo).port
    process.stdout.write(`${JSON.stringify({ http1: port(http1), h2c: port(h2c) })}\n`)
  }),
)
