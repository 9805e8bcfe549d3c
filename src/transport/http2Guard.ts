// What node:http2 does not bound by itself: how long a session may idle, how long a request may take to arrive, and how
// large headers may be before the client has acknowledged our limit. Keeps the open sessions for a drain.
//
// What node and nghttp2 do bound: 10 MB of memory a session, 1000 unsent answers to PING and SETTINGS, 8 CONTINUATION
// frames for one head, 128 headers in it, 32 settings in a frame.
import http2 from 'node:http2'
import type { Clock } from '../domain/clock.ts'

export interface Http2Limits {
  headersTimeoutMs: number
  requestTimeoutMs: number
  idleTimeoutMs: number
  maxHeaderBytes: number
  clock: Clock
}

/** Fits the 25 MB bodies of Bedrock: with HTTP/2's default of 64 KB every 64 KB would cost a round trip. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const MAX_STREAMS_PER_SESSION = 256
/**
 * A client may take back all it has under way twice at once, and 32 requests a second beside that, as one that hurries its
 * retries does; a rapid reset (CVE-2023-44487) is thousands, and ends its session.
 */
const RESET_BURST = 2 * MAX_STREAMS_PER_SESSION
const RESETS_PER_S = 32
/** RFC 9113 §6.5.2: what a header counts beside its name and value. */
const HEADER_OVERHEAD_BYTES = 32

export class Http2Guard {
  readonly #sessions = new Set<http2.ServerHttp2Session>()
  readonly #limits: Http2Limits
  #isClosed = false

  constructor(server: http2.Http2Server | http2.Http2SecureServer, limits: Http2Limits) {
    this.#limits = limits
    server.on('session', (session: http2.ServerHttp2Session) => this.#watch(session))
  }

  static serverOptions(limits: Http2Limits): http2.ServerOptions {
    return {
      settings: {
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxConcurrentStreams: MAX_STREAMS_PER_SESSION,
        maxHeaderListSize: limits.maxHeaderBytes,
        enablePush: false,
      },
      maxSessionInvalidFrames: 100,
      // Also counts what a client opens right after it has taken back as much, before that has been cleared away.
      maxSessionRejectedStreams: 1_000,
      streamResetBurst: RESET_BURST,
      streamResetRate: RESETS_PER_S,
    }
  }

  /** Idle sessions end now, busy ones with their last stream. */
  close(): void {
    this.#isClosed = true
    for (const session of this.#sessions) session.close()
  }

  destroy(): void {
    for (const session of this.#sessions) session.destroy()
  }

  /** PINGs and other frames buy no time: until its first request a session is judged as a client that sends its headers. */
  #watch(session: http2.ServerHttp2Session): void {
    const { headersTimeoutMs, idleTimeoutMs, clock } = this.#limits
    const destroy = () => session.destroy()
    let open = 0
    let cancel = clock.after(headersTimeoutMs, destroy)
    // It may have been on its way while the server closed.
    if (this.#isClosed) session.close()
    this.#sessions.add(session)
    session.setLocalWindowSize(STREAM_WINDOW_BYTES)
    session.on('error', destroy)
    session.once('goaway', () => this.#probe(session))
    session.on('close', () => {
      cancel()
      this.#sessions.delete(session)
    })
    session.on('stream', (stream, _headers, _flags, rawHeaders) => {
      if (open === 0) cancel()
      open += 1
      stream.once('close', () => {
        open -= 1
        if (open === 0 && !session.destroyed) cancel = clock.after(idleTimeoutMs, destroy)
      })
      this.#boundArrival(stream, rawHeaders)
    })
  }

  /**
   * A session whose client has said GOAWAY and then breaks the protocol is given up by nghttp2 without a word: no error, no
   * timeout, not even the end of its socket is told, while a stream is open. A PING on it fails at once.
   */
  #probe(session: http2.ServerHttp2Session): void {
    const { clock, headersTimeoutMs } = this.#limits
    let cancel = () => {}
    const probe = () => {
      if (session.destroyed) return
      session.ping(error => {
        if (error) session.destroy()
        else if (!session.destroyed) cancel = clock.after(headersTimeoutMs, probe)
      })
    }
    cancel = clock.after(headersTimeoutMs, probe)
    session.once('close', () => cancel())
  }

  #boundArrival(stream: http2.ServerHttp2Stream, rawHeaders: string[]): void {
    const bytes = rawHeaders.reduce((sum, part) => sum + part.length, (rawHeaders.length / 2) * HEADER_OVERHEAD_BYTES)
    if (bytes > this.#limits.maxHeaderBytes) {
      stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM)
      return
    }
    if (stream.readableEnded || stream.endAfterHeaders) return
    const { clock, requestTimeoutMs } = this.#limits
    const cancel = clock.after(requestTimeoutMs, () => stream.close(http2.constants.NGHTTP2_CANCEL))
    stream.once('end', cancel)
    stream.once('close', cancel)
  }
}
