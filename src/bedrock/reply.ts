// One reply on its way back. A throttle is collected whole, everything else is handed on at once; usage is read in passing.
import { type Dispatcher, errors } from 'undici'
import type { Clock } from '../domain/clock.ts'
import type { FlowControl, Receiver } from '../gateway/ports.ts'
import type { Operation } from '../wire/operations.ts'
import { createUsageReader, type UsageReader } from '../wire/usage.ts'
import { downstreamHeaders, headerValue } from './headers.ts'
import { isDayThrottle, isThrottle } from './throttle.ts'
import { upstreamFault } from './upstreamFault.ts'

/** Bedrock's throttles have 63 bytes. */
const MAX_THROTTLE_BYTES = 64 * 1024
/** … and come at once. */
const LONGEST_THROTTLE_MS = 2_000

interface Collected {
  status: number
  headers: string[]
  chunks: Buffer[]
  bytes: number
  /** Ends the wait for the rest of it. */
  giveUp: () => void
}

export class Reply implements Dispatcher.DispatchHandler, FlowControl {
  readonly #operation: Operation
  readonly #receiver: Receiver
  readonly #clock: Clock
  #controller: Dispatcher.DispatchController | undefined
  #usage: UsageReader | undefined
  #throttle: Collected | undefined
  abandoned = false

  constructor(operation: Operation, receiver: Receiver, clock: Clock) {
    this.#operation = operation
    this.#receiver = receiver
    this.#clock = clock
  }

  pause(): void {
    if (!this.#controller?.paused) this.#controller?.pause()
  }

  resume(): void {
    if (this.#controller?.paused) this.#controller.resume()
  }

  /** The client went away: the connection is torn down, so that the upstream stops too. True when it was on its way. */
  abandon(): boolean {
    this.abandoned = true
    this.#throttle?.giveUp()
    this.#controller?.abort(new Error('the client went away'))
    return this.#controller !== undefined
  }

  /** No answer, or not the whole of one. The request counts as sent once a connection has been found for it. */
  failed(error: unknown): void {
    const sent = this.#controller !== undefined
    this.#throttle?.giveUp()
    if (!this.abandoned) this.#receiver.failed(upstreamFault(error, sent), sent)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.abandoned) controller.abort(new Error('the client went away'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return
    if (status > HIGHEST_STATUS) {
      controller.abort(new errors.HTTPParserError(`status ${status}`))
      return
    }
    const headers = downstreamHeaders(rawHeaders(controller))
    if (isThrottle(status, headerValue(headers, 'x-amzn-errortype'))) {
      const collected = { status, headers, chunks: [], bytes: 0 }
      const giveUp = this.#clock.after(LONGEST_THROTTLE_MS, () => this.#handOn(this.#throttle))
      this.#throttle = { ...collected, giveUp }
      return
    }
    if (status < 300) this.#usage = createUsageReader(this.#operation, name => headerValue(headers, name))
    this.#receiver.head(status, headers, this)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.abandoned) return
    const throttle = this.#throttle
    if (!throttle) {
      this.#usage?.push(chunk)
      this.#receiver.data(chunk)
      return
    }
    throttle.bytes += chunk.length
    throttle.chunks.push(chunk)
    if (throttle.bytes > MAX_THROTTLE_BYTES) this.#handOn(throttle)
  }

  onResponseEnd(): void {
    if (this.abandoned) return
    if (this.#throttle) {
      const { status, headers, chunks } = this.#throttle
      const body = Buffer.concat(chunks)
      this.#throttle.giveUp()
      if (!isDayThrottle(body)) {
        this.#receiver.throttled({ status, headers, body })
        return
      }
      this.#handOn(this.#throttle)
    }
    this.#receiver.end(this.#usage?.end(), this.#usage?.exception?.())
  }

  /** Too long, too slow or too final to hold back: its client gets it after all. */
  #handOn(throttle: Collected | undefined): void {
    if (!throttle || this.abandoned) return
    const { status, headers, chunks } = throttle
    throttle.giveUp()
    this.#throttle = undefined
    this.#receiver.head(status, headers, this)
    for (const chunk of chunks) this.#receiver.data(chunk)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.failed(error)
  }
}

/** HTTP knows none beyond, and node's HTTP/2 would refuse to write one. */
const HIGHEST_STATUS = 599

function rawHeaders(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders
  if (!Array.isArray(raw)) return []
  return raw.map(part => (typeof part === 'string' ? part : part.toString('latin1')))
}
