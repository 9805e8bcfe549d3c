// The answer to one invocation, written straight to the socket: HTTP/1.1 or HTTP/2, with the client's pace kept.
import { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes } from '../gateway/ports.ts'
import type { Response } from '../transport/onePort.ts'
import type { Operation } from '../wire/operations.ts'
import { refusalReply, retryHints } from './refusals.ts'

export class ClientAnswer implements Answer {
  readonly #response: Response
  readonly #dialect: Operation['dialect']
  readonly #requestId: string
  #flow: FlowControl | undefined

  constructor(response: Response, dialect: Operation['dialect'], requestId: string) {
    this.#response = response
    this.#dialect = dialect
    this.#requestId = requestId
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#flow = flow
    writeHead(this.#response, status, headers.concat(noteHeaders(notes)))
  }

  /** A slow reader holds the upstream: at most one high-water mark of bytes is kept for it. */
  data(chunk: Buffer): void {
    const writable: Writable = this.#response
    if (writable.write(chunk)) return
    const flow = this.#flow
    flow?.pause()
    this.#response.once('drain', () => flow?.resume())
  }

  end(): void {
    this.#response.end()
  }

  /** HTTP/1.1: the socket is destroyed before the last chunk. HTTP/2: the stream is reset. Neither looks whole. */
  cut(): void {
    if (this.#response instanceof ServerResponse) this.#response.destroy()
    else this.#response.stream.close(HTTP2_INTERNAL_ERROR)
  }

  refuse(refusal: Refusal, notes?: Notes): void {
    if (this.#response.headersSent || this.#response.destroyed) return
    const { status, headers, body } = refusalReply(refusal, this.#dialect, this.#requestId)
    writeHead(this.#response, status, notes ? headers.concat(noteHeaders(notes)) : headers)
    this.#response.end(body)
  }
}

const HTTP2_INTERNAL_ERROR = 2

function noteHeaders(notes: Notes): string[] {
  const headers = [
    'x-sluice-pool',
    notes.pool,
    'x-sluice-wait-ms',
    String(Math.round(notes.waitMs)),
    'x-sluice-attempts',
    String(notes.attempts),
  ]
  return notes.retryAfterMs === undefined ? headers : headers.concat(retryHints(notes.retryAfterMs))
}

/** Repeated headers stay repeated in both protocols. */
export function writeHead(response: Response, status: number, headers: string[]): void {
  if (response instanceof ServerResponse) {
    response.writeHead(status, headers)
    return
  }
  for (let i = 0; i + 1 < headers.length; i += 2) response.appendHeader(headers[i]!, headers[i + 1]!)
  response.writeHead(status)
}
