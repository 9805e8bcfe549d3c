// The answer to one invocation, written straight to the socket: HTTP/1.1 or HTTP/2, with the client's pace kept.
import { ServerResponse, validateHeaderValue } from 'node:http'
import type { OutgoingHttpHeaders } from 'node:http2'
import type { Writable } from 'node:stream'
import type { Clock } from '../domain/clock.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, AnswerNames, FlowControl, Notes } from '../gateway/ports.ts'
import type { Response } from '../transport/onePort.ts'
import type { Operation } from '../wire/operations.ts'
import { refusalReply, retryHints } from './refusals.ts'

/** Beyond it a copy would cost more than a second piece. */
const JOINED_BYTES = 16 * 1024
const CONTENT_LENGTH = 'content-length'
/** What an upstream may call itself in a log. */
const NAME = /^[\w-]{1,64}/
const HINTS = new Set(['retry-after', 'x-amz-retry-after', 'retry-after-ms'])

/** How long a client that takes no bytes may hold its upstream call. */
export interface Patience {
  stallTimeoutMs: number
  clock: Clock
}

export class ClientAnswer implements Answer {
  readonly #response: Response
  readonly #body: Writable
  readonly #dialect: Operation['dialect']
  readonly #requestId: string
  readonly #patience: Patience
  #flow: FlowControl | undefined
  #headers: string[] | undefined
  /** Bytes that a declared length still promises. */
  #owed = Number.NaN
  /** The body's last bytes: they leave with its end, in one write. */
  #last: Buffer | undefined

  constructor(response: Response, dialect: Operation['dialect'], requestId: string, patience: Patience) {
    this.#patience = patience
    this.#response = response
    this.#body = bodyOf(response)
    this.#dialect = dialect
    this.#requestId = requestId
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#flow = flow
    this.#headers = headers
    const response = this.#response
    const kept = notes.retryAfterMs === undefined ? headers : withoutHints(headers)
    writeHead(response, status, kept.concat(noteHeaders(notes)))
    this.#owed = declaredLength(headers)
    // A stream's head goes out at once; that of a body of known length may wait for the body, which is on its way.
    if (Number.isNaN(this.#owed) && response instanceof ServerResponse) response.flushHeaders()
  }

  /** A slow reader holds the upstream: at most one high-water mark of bytes is kept for it. */
  data(chunk: Buffer): void {
    this.#owed -= chunk.length
    if (this.#owed === 0) {
      this.#last = chunk
      return
    }
    if (this.#body.write(chunk)) return
    const flow = this.#flow
    flow?.pause()
    this.#cutUnlessDrained(() => flow?.resume())
  }

  end(): void {
    const body = this.#body
    if (!this.#last) body.end()
    // As a string it is joined to the head, and node writes one piece where a buffer would be a second.
    else if (body instanceof ServerResponse && this.#last.length <= JOINED_BYTES)
      body.end(this.#last.toString('latin1'), 'latin1')
    else body.end(this.#last)
    cutUnlessTaken(this.#response, this.#patience)
  }

  /** One that does not read at all is cut off, or it would hold an upstream connection for ever. */
  #cutUnlessDrained(drained: () => void): void {
    const body = this.#body
    const forget = this.#patience.clock.after(this.#patience.stallTimeoutMs, () => this.cut())
    body.once('close', forget)
    body.once('drain', () => {
      forget()
      body.off('close', forget)
      drained()
    })
  }

  /** It never looks whole. */
  cut(): void {
    cutOff(this.#response)
  }

  names(): AnswerNames | undefined {
    const headers = this.#headers
    return headers && { requestId: nameIn(headers, 'x-amzn-requestid'), exception: nameIn(headers, 'x-amzn-errortype') }
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    if (this.#response.headersSent || this.#body.destroyed) return
    const { status, headers, body } = refusalReply(refusal, this.#dialect, this.#requestId)
    writeHead(this.#response, status, notes ? headers.concat(noteHeaders(notes)) : headers)
    this.#body.end(body)
    cutUnlessTaken(this.#response, this.#patience)
  }
}

/** undefined: none, or nothing that looks like one. */
function nameIn(headers: string[], lowerCaseName: string): string | undefined {
  const at = headers.findIndex(
    (name, i) => i % 2 === 0 && name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName,
  )
  return at < 0 ? undefined : NAME.exec(headers[at + 1]!)?.[0]
}

const HTTP2_INTERNAL_ERROR = 2

/**
 * HTTP/1.1: the socket is destroyed before the last chunk, and behind the head, which may still wait for the body: a proxy would
 * take silence for a server that has failed. HTTP/2: the stream is reset. HTTP/1.0 knows no chunks, so the
 * connection is reset.
 */
function cutOff(response: Response): void {
  if (response instanceof ServerResponse) {
    if (response.headersSent) response.flushHeaders()
    if (response.req.httpVersionMinor === 0) response.socket?.resetAndDestroy()
    response.destroy()
  } else response.stream.close(HTTP2_INTERNAL_ERROR)
}

/**
 * The rest of an answer may be small, but one that is never read would hold its connection, or its stream, for ever. From its end
 * on it has the stall timeout to be taken whole. Costs nothing where the system has taken all of it already.
 */
export function cutUnlessTaken(response: Response, patience: Patience): void {
  const body = bodyOf(response)
  if (body.destroyed || (response instanceof ServerResponse && response.writableEnded && response.writableLength === 0))
    return
  if (response instanceof ServerResponse && !response.socket) {
    // Pipelined: the answer before it has the connection.
    response.once('socket', () => cutUnlessTaken(response, patience))
    return
  }
  body.once(
    'close',
    patience.clock.after(patience.stallTimeoutMs, () => cutOff(response)),
  )
}

/** Ours say when the line is through; the upstream's own beside them would contradict. */
function withoutHints(headers: string[]): string[] {
  return headers.filter((_part, i) => !HINTS.has(headers[i - (i % 2)]!.toLowerCase()))
}

/** NaN: the head declares none. */
function declaredLength(headers: string[]): number {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!
    if (name.length === CONTENT_LENGTH.length && name.toLowerCase() === CONTENT_LENGTH) return Number(headers[i + 1])
  }
  return Number.NaN
}

/** A refusal before any call has no wait and no attempts to tell of. */
function noteHeaders(notes: Partial<Notes>): string[] {
  const headers: string[] = []
  if (notes.waitMs !== undefined) headers.push('x-sluice-wait-ms', String(Math.round(notes.waitMs)))
  if (notes.attempts !== undefined) headers.push('x-sluice-attempts', String(notes.attempts))
  if (notes.pool !== undefined) headers.push('x-sluice-pool', notes.pool)
  if (notes.fallback !== undefined) headers.push('x-sluice-fallback', notes.fallback)
  if (notes.outputCap !== undefined) headers.push('x-sluice-output-cap', String(notes.outputCap))
  if (notes.coalesced) headers.push('x-sluice-coalesced', 'true')
  const { policy, level } = notes.rateLimit ?? {}
  if (policy !== undefined) headers.push('ratelimit-policy', policy)
  if (level !== undefined) headers.push('ratelimit', level)
  return notes.retryAfterMs === undefined ? headers : headers.concat(retryHints(notes.retryAfterMs))
}

/** What HTTP/2 may carry once only (RFC 9110); node throws at a second, so the first is kept. */
const SINGLE = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'age',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'etag',
  'expires',
  'last-modified',
  'location',
  'retry-after',
  'server',
  'tk',
  'x-content-type-options',
])

/** Where the body goes. In HTTP/2 the stream itself, so that `writeHead` can say how it ends. */
export function bodyOf(response: Response): Writable {
  return response instanceof ServerResponse ? response : response.stream
}

/** Repeated headers stay repeated in both protocols. Throws when a value cannot be sent. */
export function writeHead(response: Response, status: number, headers: string[]): void {
  if (response instanceof ServerResponse) {
    response.writeHead(status, headers)
    return
  }
  const { stream } = response
  if (stream.destroyed || stream.closed) return
  // Trailers, even none, cost a frame of their own, a write to the socket and a turn of the event loop. Without them
  // node ends a stream before it resets it: a cut answer would look whole, but for a length that it does not reach.
  stream.respond(http2Headers(status, headers), { waitForTrailers: Number.isNaN(declaredLength(headers)) })
}

function http2Headers(status: number, headers: string[]): OutgoingHttpHeaders {
  const named: OutgoingHttpHeaders = Object.create(null)
  named[':status'] = status
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase()
    const value = headers[i + 1]!
    const earlier = named[name]
    if (name === 'connection' || (earlier !== undefined && SINGLE.has(name))) continue
    validateHeaderValue(name, value)
    if (earlier === undefined) named[name] = value
    else if (Array.isArray(earlier)) earlier.push(value)
    else named[name] = [String(earlier), value]
  }
  return named
}
