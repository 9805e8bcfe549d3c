// One listening port for HTTP/1.1 and HTTP/2. On a plain port the first bytes decide: an HTTP/2 client with prior
// knowledge opens with "PRI * HTTP/2.0", and the AWS SDK for JavaScript sends nothing else on http://. With TLS, ALPN decides.
import http from 'node:http'
import http2 from 'node:http2'
import type { Socket } from 'node:net'

export type Request = http.IncomingMessage | http2.Http2ServerRequest
export type Response = http.ServerResponse | http2.Http2ServerResponse
export type RequestHandler = (request: Request, response: Response) => void

export interface OnePortOptions {
  /** PEM texts; absent: a plain port. */
  tls?: { cert: string; key: string }
  /** A client that has not sent a request's whole head by then is cut off. */
  headersTimeoutMs: number
  /** … nor its whole request by then. */
  requestTimeoutMs: number
  /** A connection without a request under way is closed after it. */
  idleTimeoutMs: number
  maxHeaderBytes: number
}

/** Fits the 25 MB bodies of Bedrock: with HTTP/2's default of 64 KB every 64 KB would cost a round trip. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const MAX_STREAMS_PER_SESSION = 256
/** Enough of the preface to tell it from every HTTP/1.1 method ("PRI" against PROPFIND, PRINT is none). */
const PREFACE = Buffer.from('PRI ')

export function createOnePort(options: OnePortOptions, handle: RequestHandler): http.Server | http2.Http2SecureServer {
  return options.tls ? createSecure(options, options.tls, handle) : new PlainPort(options, handle)
}

class PlainPort extends http.Server {
  readonly #http2: http2.Http2Server
  readonly #sessions: Set<http2.Http2Session>

  constructor(options: OnePortOptions, handle: RequestHandler) {
    super(http1Options(options), handle)
    this.#http2 = http2.createServer(http2Options(options), handle)
    this.#sessions = trackSessions(this.#http2, options)
    const serveHttp1 = this.listeners('connection')[0] as (this: http.Server, socket: Socket) => void
    this.removeAllListeners('connection')
    this.on('connection', (socket: Socket) =>
      sniff(socket, options.headersTimeoutMs, isHttp2 => {
        if (isHttp2) {
          // http.Server leaves sockets half-open; an HTTP/2 session would then never learn that its client is gone.
          socket.allowHalfOpen = false
          this.#http2.emit('connection', socket)
        } else {
          serveHttp1.call(this, socket)
          socket.resume()
        }
      }),
    )
  }

  override close(done?: (error?: Error) => void): this {
    for (const session of this.#sessions) session.close()
    return super.close(done)
  }

  override closeAllConnections(): void {
    for (const session of this.#sessions) session.destroy()
    super.closeAllConnections()
  }
}

function createSecure(options: OnePortOptions, tls: { cert: string; key: string }, handle: RequestHandler) {
  const server = http2.createSecureServer(
    { ...http2Options(options), ...http1Options(options), ...tls, allowHTTP1: true },
    handle,
  )
  const sessions = trackSessions(server, options)
  const close = server.close.bind(server)
  server.close = done => {
    for (const session of sessions) session.close()
    return close(done)
  }
  return server
}

function http1Options(options: OnePortOptions): http.ServerOptions {
  return {
    headersTimeout: options.headersTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    keepAliveTimeout: options.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(options.headersTimeoutMs, 5_000),
    maxHeaderSize: options.maxHeaderBytes,
    noDelay: true,
  }
}

function http2Options(options: OnePortOptions): http2.ServerOptions {
  return {
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: MAX_STREAMS_PER_SESSION,
      maxHeaderListSize: options.maxHeaderBytes,
      enablePush: false,
    },
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
  }
}

/** Keeps the open sessions for a drain, widens their windows, and closes the idle ones. */
function trackSessions(server: http2.Http2Server | http2.Http2SecureServer, options: OnePortOptions) {
  const sessions = new Set<http2.Http2Session>()
  server.on('session', (session: http2.ServerHttp2Session) => {
    sessions.add(session)
    session.setLocalWindowSize(STREAM_WINDOW_BYTES)
    session.on('close', () => sessions.delete(session))
    session.on('error', () => session.destroy())
    let open = 0
    const closeWhenIdle = () => session.setTimeout(options.idleTimeoutMs, () => session.close())
    session.on('stream', stream => {
      open += 1
      session.setTimeout(0)
      stream.once('close', () => {
        open -= 1
        if (open === 0 && !session.destroyed) closeWhenIdle()
      })
    })
    closeWhenIdle()
  })
  return sessions
}

/** Reads until the bytes are HTTP/2's preface or can't be, puts them back, and tells. Silent clients are cut off. */
function sniff(socket: Socket, timeoutMs: number, decided: (isHttp2: boolean) => void): void {
  let seen: Buffer = Buffer.alloc(0)
  const giveUp = () => socket.destroy()
  const onData = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const length = Math.min(seen.length, PREFACE.length)
    const matches = PREFACE.compare(seen, 0, length, 0, length) === 0
    if (matches && length < PREFACE.length) return
    socket.off('data', onData)
    socket.off('error', giveUp)
    socket.off('end', giveUp)
    socket.setTimeout(0)
    socket.off('timeout', giveUp)
    socket.pause()
    socket.unshift(seen)
    decided(matches)
  }
  socket.on('data', onData)
  socket.on('error', giveUp)
  socket.on('end', giveUp)
  socket.setTimeout(timeoutMs, giveUp)
}
