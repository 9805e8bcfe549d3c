// One listening port for HTTP/1.1 and HTTP/2. On a plain port the first bytes decide: an HTTP/2 client with prior
// knowledge opens with "PRI * HTTP/2.0", and the AWS SDK for JavaScript sends nothing else on http://. With TLS, ALPN decides.
import http from 'node:http'
import http2 from 'node:http2'
import net, { type Socket } from 'node:net'
import type { Clock } from '../domain/clock.ts'
import { type AddressBound, OpenByAddress } from './addressBound.ts'
import { Http2Guard } from './http2Guard.ts'

export type Request = http.IncomingMessage | http2.Http2ServerRequest
export type Response = http.ServerResponse | http2.Http2ServerResponse
/** `invite`: tells a client that waits for "100 Continue" to send its body; absent where none waits. */
export type RequestHandler = (request: Request, response: Response, invite?: () => void) => void

export interface OnePortOptions {
  /** PEM texts; absent: a plain port. */
  tls?: { cert: string; key: string }
  /** A client that has not sent a request's whole head by then is cut off; so is one that has not finished TLS's handshake. */
  headersTimeoutMs: number
  /** … nor its whole request by then. */
  requestTimeoutMs: number
  /** Open connections; one more is closed at once. */
  maxConnections: number
  /** … of one address; absent: no bound of its own. */
  perAddress?: AddressBound
  /** A connection without a request under way is closed after it. */
  idleTimeoutMs: number
  maxHeaderBytes: number
  clock: Clock
}

/**
 * `close()` accepts nothing more and ends busy connections with their answer, idle HTTP/2 ones at once (GOAWAY says which of their
 * requests were not heard), and idle HTTP/1.1 ones after LINGER_MS; `closeAllConnections()` cuts all.
 */
export type OnePort = (http.Server | http2.Http2SecureServer) & { closeAllConnections(): void }

/**
 * Requests of an HTTP/1 connection that have no answer yet; one more ends it. No client of Bedrock's sends a second before it has
 * the first's answer. Many would make node stop reading, and nobody would notice that their client is gone.
 */
const MOST_PIPELINED = 32
/** By connection, its HTTP/1 answer that was begun last, or is still to begin. */
const latest = new WeakMap<Socket, InTurn>()

interface InTurn extends http.ServerResponse {
  /** The one before it, while that was not finished when it was last looked at. */
  earlier?: InTurn | undefined
}

/** Answers of its connection that are not finished, itself among them. Looks at no more than `most`, and forgets the others. */
function unfinishedUpTo(response: InTurn, most: number): number {
  let count = 1
  let one = response
  while (one.earlier && count < most) {
    if (one.earlier.writableFinished) one.earlier = undefined
    else {
      count += 1
      one = one.earlier
    }
  }
  return count
}

/**
 * Whether what is written to an HTTP/1 connection now answers the bytes that came last: every request before them has its answer,
 * or theirs is the only one that has none.
 */
export function owesNothingEarlier(socket: Socket): boolean {
  const response = latest.get(socket)
  // Of a request that was answered before it had come whole, the rest has its answer already.
  if (!response || (response.writableFinished && response.req.complete)) return true
  return response.socket === socket && !response.headersSent && !response.req.complete
}

/** Enough of the preface to tell it from every HTTP/1.1 method (PROPFIND comes closest). */
const PREFACE = Buffer.from('PRI ')
const LOOK_FOR_IDLE_MS = 100
/** A proxy may just be sending a request into an idle HTTP/1.1 connection, and dare not send a POST twice. */
const LINGER_MS = 1_000

export function createOnePort(options: OnePortOptions, handle: RequestHandler): OnePort {
  return options.tls ? createSecure(options, options.tls, handle) : new PlainPort(options, handle)
}

class PlainPort extends http.Server {
  readonly #guard: Http2Guard
  readonly #clock: Clock
  /** Connections that have not said yet what they speak. */
  readonly #silent = new Set<Socket>()

  constructor(options: OnePortOptions, handle: RequestHandler) {
    super(
      http1Options(options, () => this.listening),
      handle,
    )
    const server = http2.createServer(Http2Guard.serverOptions(options), handle)
    letExpect(this, handle)
    letExpect(server, handle)
    this.maxConnections = options.maxConnections
    this.#guard = new Http2Guard(server, options)
    const serveHttp1 = this.listeners('connection')[0] as (this: http.Server, socket: Socket) => void
    this.removeAllListeners('connection')
    const openByAddress = new OpenByAddress(options.perAddress)
    this.on('connection', (socket: Socket) => {
      if (!openByAddress.takes(socket)) {
        socket.destroy()
        return
      }
      this.#silent.add(socket)
      socket.once('close', () => this.#silent.delete(socket))
      sniff(socket, options, isHttp2 => {
        this.#silent.delete(socket)
        if (isHttp2) {
          // http.Server leaves sockets half-open; an HTTP/2 session would then never learn that its client is gone.
          socket.allowHalfOpen = false
          server.emit('connection', socket)
        } else {
          serveHttp1.call(this, socket)
          socket.resume()
        }
      })
    })
    this.#clock = options.clock
  }

  override close(done?: (error?: Error) => void): this {
    for (const socket of this.#silent) socket.destroy()
    this.#guard.close()
    this.#endIdle()
    // Not http.Server's, which would end idle connections at once.
    return net.Server.prototype.close.call(this, done) as this
  }

  /** Keep-alive connections end soon after the answer they are busy with, not after their idle timeout. */
  #endIdle(): void {
    const look = () => {
      this.closeIdleConnections()
      cancel = this.#clock.after(LOOK_FOR_IDLE_MS, look)
    }
    let cancel = this.#clock.after(LINGER_MS, look)
    this.once('close', () => cancel())
  }

  override closeAllConnections(): void {
    for (const socket of this.#silent) socket.destroy()
    this.#guard.destroy()
    super.closeAllConnections()
  }
}

function createSecure(options: OnePortOptions, tls: { cert: string; key: string }, handle: RequestHandler): OnePort {
  /** HTTP/1.1 connections, and how many of their requests have no answer yet. */
  const unanswered = new Map<Socket, number>()
  const isOpen = (): boolean => server.listening
  const serve = counting(unanswered, isOpen, handle)
  const server = http2.createSecureServer(
    {
      ...Http2Guard.serverOptions(options),
      ...http1Options(options, isOpen),
      ...tls,
      allowHTTP1: true,
      handshakeTimeout: options.headersTimeoutMs,
    },
    serve,
  )
  letExpect(server, serve)
  // Node leaves a stalled handshake to whoever hears of client errors, and an answer to it could never leave.
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') socket.destroy()
  })
  server.maxConnections = options.maxConnections
  const guard = new Http2Guard(server, options)
  const sockets = new Set<Socket>()
  const openByAddress = new OpenByAddress(options.perAddress)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    if (!openByAddress.takes(socket)) socket.destroy()
  })
  server.on('secureConnection', socket => {
    if (socket.alpnProtocol === 'h2') return
    unanswered.set(socket, 0)
    socket.once('close', () => unanswered.delete(socket))
  })
  server.close = done => {
    const cancel = options.clock.after(LINGER_MS, () => {
      for (const [socket, count] of unanswered) if (count === 0) socket.destroy()
    })
    server.once('close', cancel)
    guard.close()
    // Not http2's, which would end idle HTTP/1.1 connections at once.
    net.Server.prototype.close.call(server, done)
    return server
  }
  const closeAllConnections = () => {
    guard.destroy()
    for (const socket of sockets) socket.destroy()
  }
  return Object.assign(server, { closeAllConnections })
}

/** Of a connection that is among the `unanswered`. With its last answer it ends, once the port closes. */
function counting(unanswered: Map<Socket, number>, isOpen: () => boolean, handle: RequestHandler): RequestHandler {
  return (request, response, invite) => {
    const { socket } = request
    const count = unanswered.get(socket)
    if (count !== undefined) {
      unanswered.set(socket, count + 1)
      response.once('close', () => {
        const left = (unanswered.get(socket) ?? 1) - 1
        if (unanswered.has(socket)) unanswered.set(socket, left)
        if (left === 0 && !isOpen()) socket.end()
      })
    }
    handle(request, response, invite)
  }
}

/**
 * Node would answer by itself, bare: it invites what is about to be refused, and refuses any other expectation, which RFC 9110 lets
 * a server leave unread, and HTTP/2's CONNECT, which is a request for no known path.
 */
function letExpect(server: http.Server | http2.Http2Server | http2.Http2SecureServer, handle: RequestHandler): void {
  server.on('checkContinue', (request: Request, response: Response) =>
    handle(request, response, () => response.writeContinue()),
  )
  server.on('checkExpectation', (request: Request, response: Response) => handle(request, response))
  server.on('connect', (request: Request, response: Response | Socket) => {
    if (response instanceof http2.Http2ServerResponse) handle(request, response)
    else response.destroy()
  })
}

function http1Options(options: OnePortOptions, isOpen: () => boolean): http.ServerOptions {
  return {
    ServerResponse: responsesOf(isOpen),
    headersTimeout: options.headersTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(options.headersTimeoutMs, 5_000),
    maxHeaderSize: options.maxHeaderBytes,
    // Refused by whoever handles it, in its own words.
    requireHostHeader: false,
    noDelay: true,
  }
}

/**
 * An answer that begins while its port closes tells its client to take the next request elsewhere, unless that has come already
 * (pipelined): it would be lost.
 */
function responsesOf(isOpen: () => boolean): typeof http.ServerResponse {
  return class<Asked extends http.IncomingMessage> extends http.ServerResponse<Asked> implements InTurn {
    earlier: InTurn | undefined

    constructor(...args: unknown[]) {
      super(...(args as [Asked]))
      const { socket } = this.req
      const earlier = latest.get(socket)
      if (earlier && !earlier.writableFinished) this.earlier = earlier
      latest.set(socket, this)
      if (this.earlier && unfinishedUpTo(this, MOST_PIPELINED + 1) > MOST_PIPELINED) socket.destroy()
    }

    override writeHead(...args: unknown[]): this {
      if (!isOpen() && latest.get(this.req.socket) === this) this.shouldKeepAlive = false
      return super.writeHead(...(args as [number]))
    }
  }
}

/**
 * Reads until the bytes are HTTP/2's preface or can't be, puts them back, and tells. Who has not said so much within the
 * headers timeout is cut off, however the bytes drip.
 */
function sniff(socket: Socket, { clock, headersTimeoutMs }: OnePortOptions, decided: (isHttp2: boolean) => void): void {
  let seen: Buffer = Buffer.alloc(0)
  const giveUp = () => socket.destroy()
  const cancel = clock.after(headersTimeoutMs, giveUp)
  const onData = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const length = Math.min(seen.length, PREFACE.length)
    const matches = PREFACE.compare(seen, 0, length, 0, length) === 0
    if (matches && length < PREFACE.length) return
    cancel()
    socket.off('data', onData)
    socket.off('error', giveUp)
    socket.off('end', giveUp)
    socket.off('close', cancel)
    socket.pause()
    socket.unshift(seen)
    decided(matches)
  }
  socket.on('data', onData)
  socket.on('error', giveUp)
  socket.on('end', giveUp)
  socket.on('close', cancel)
}
