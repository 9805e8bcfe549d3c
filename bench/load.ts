// A closed-loop load generator on raw sockets: it costs a fraction of what it measures. One request in flight a connection.
import http2 from 'node:http2'
import net from 'node:net'

export interface Figures {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  requests: number
  errors: number
}

const BODY = JSON.stringify({
  messages: [{ role: 'user', content: [{ text: 'Tell me a story about a sluice. '.repeat(30) }] }],
  inferenceConfig: { maxTokens: 300 },
})
const MODEL = 'anthropic.claude-sonnet-4-5-20250929-v1%3A0'

function requestBytes(operation: string): Buffer {
  return Buffer.from(
    `POST /model/${MODEL}/${operation} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(BODY)}\r\n\r\n${BODY}`,
  )
}

/** `connections` keep-alive HTTP/1.1 connections for `seconds`, after a warm-up whose requests do not count. */
export async function loadHttp1(
  port: number,
  connections: number,
  seconds: number,
  warmUpSeconds: number,
): Promise<Figures> {
  const run = newRun(seconds, warmUpSeconds)
  await Promise.all(Array.from({ length: connections }, () => converseLoop(port, run)))
  return figures(run, seconds)
}

/** Time until the first body byte of a stream, over keep-alive connections. */
export async function loadStreams(port: number, connections: number, seconds: number): Promise<Figures> {
  const run = newRun(seconds, 0.5)
  await Promise.all(Array.from({ length: connections }, () => streamLoop(port, run)))
  return figures(run, seconds)
}

/** The AWS SDK for JavaScript's own pattern on http://: a fresh prior-knowledge HTTP/2 connection for every request. */
export async function loadFreshH2c(port: number, concurrency: number, seconds: number): Promise<Figures> {
  const run = newRun(seconds, 0.5)
  const one = () =>
    new Promise<boolean>(resolve => {
      const session = http2.connect(`http://127.0.0.1:${port}`)
      const stream = session.request({
        ':method': 'POST',
        ':path': `/model/${MODEL}/converse`,
        'content-type': 'application/json',
      })
      let status = 0
      const done = (ok: boolean) => {
        session.destroy()
        resolve(ok)
      }
      session.on('error', () => done(false))
      stream.on('error', () => done(false))
      stream.on('response', headers => {
        status = headers[':status'] ?? 0
      })
      stream.on('data', () => {})
      stream.on('end', () => done(status === 200))
      stream.end(BODY)
    })
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < run.endMs) {
        const startMs = performance.now()
        record(run, startMs, await one())
      }
    }),
  )
  return figures(run, seconds)
}

interface Run {
  countFromMs: number
  endMs: number
  latenciesMs: number[]
  errors: number
}

function newRun(seconds: number, warmUpSeconds: number): Run {
  const countFromMs = performance.now() + warmUpSeconds * 1000
  return { countFromMs, endMs: countFromMs + seconds * 1000, latenciesMs: [], errors: 0 }
}

function record(run: Run, startMs: number, ok: boolean): void {
  const nowMs = performance.now()
  if (startMs < run.countFromMs || nowMs > run.endMs) return
  if (ok) run.latenciesMs.push(nowMs - startMs)
  else run.errors += 1
}

function figures(run: Run, seconds: number): Figures {
  const sorted = run.latenciesMs.sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return {
    requestsPerSecond: sorted.length / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    requests: sorted.length,
    errors: run.errors,
  }
}

function converseLoop(port: number, run: Run): Promise<void> {
  const request = requestBytes('converse')
  return loop(port, run, request, (pending, answered) => {
    let rest = pending
    for (;;) {
      const whole = wholeResponse(rest)
      if (whole === undefined) return rest
      answered(rest.toString('latin1', 9, 12) === '200')
      rest = rest.subarray(whole)
    }
  })
}

/** Counts the time to the first body byte; the next request goes out when the last chunk has come. */
function streamLoop(port: number, run: Run): Promise<void> {
  const request = requestBytes('converse-stream')
  let first = true
  return loop(port, run, request, (pending, answered, firstByte) => {
    const head = pending.indexOf('\r\n\r\n')
    if (head < 0) return pending
    if (first && pending.length > head + 4) {
      first = false
      firstByte()
    }
    if (!pending.subarray(-5).equals(LAST_CHUNK)) return pending
    first = true
    answered(pending.toString('latin1', 9, 12) === '200')
    return pending.subarray(pending.length)
  })
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Bytes of the first whole response: with a content-length, or chunked and ended. */
function wholeResponse(bytes: Buffer): number | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const length = /content-length: *(\d+)/i.exec(head)?.[1]
  if (length === undefined) {
    const end = bytes.indexOf('\r\n0\r\n\r\n', headEnd)
    return end < 0 ? undefined : end + 7
  }
  const whole = headEnd + 4 + Number(length)
  return bytes.length < whole ? undefined : whole
}

type Reader = (pending: Buffer, answered: (ok: boolean) => void, firstByte: () => void) => Buffer

function loop(port: number, run: Run, request: Buffer, read: Reader): Promise<void> {
  return new Promise(resolve => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    let pending: Buffer = Buffer.alloc(0)
    let startMs = 0
    let timed = false
    const send = () => {
      startMs = performance.now()
      timed = false
      socket.write(request)
    }
    const answered = (ok: boolean) => {
      if (!timed) record(run, startMs, ok)
      if (performance.now() < run.endMs) send()
      else socket.destroy()
    }
    const firstByte = () => {
      timed = true
      record(run, startMs, true)
    }
    socket.on('connect', send)
    socket.on('data', data => {
      pending = read(pending.length === 0 ? data : Buffer.concat([pending, data]), answered, firstByte)
    })
    socket.on('error', () => {
      run.errors += 1
    })
    socket.on('close', () => resolve())
  })
}
