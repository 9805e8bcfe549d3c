// One reply on its way back. A throttle or a failure is collected whole, since its client need never hear of it; everything
// else is handed on at once. Usage is read in passing.
import { type Dispatcher, errors } from 'undici'
import type { Clock } from '../domain/clock.ts'
import type { Call, FlowControl, Receiver } from '../gateway/ports.ts'
import type { Operation } from '../wire/operations.ts'
import { createUsageReader, type UsageReader } from '../wire/usage.ts'
import { isFailure } from './failure.ts'
import { downstreamHeaders, headerValue } from './headers.ts'
import { isThrottle, throttleSubject } from './throttle.ts'
import { upstreamFault } from './upstreamFault.ts'

/** Bedrock's throttles have 63 bytes, its errors few more. */
const MAX_HELD_BYTES = 64 * 1024
/** … and come in one piece with their head. */
const LONGEST_HELD_MS = 2_000

interface Held {
  isThrottle: boolean
  status: number
  headers: string[]
  chunks: Buffer[]
  bytes: number
  /** Ends the wait for the rest of it. */
  giveUp: () => void
}

export class Reply implements Dispatcher.DispatchHandler, FlowControl, Call {
  readonly #operation: Operation
  readonly #receiver: Receiver
  readonly #clock: Clock
  #controller: Dispatcher.DispatchController | undefined
  #usage: UsageReader | undefined
  #held: Held | undefined
  #informational = 0
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

  /** A connection has been found for the request. */
  get isSent(): boolean {
    return this.#controller !== undefined
  }

  /** The client went away: the connection is torn down, so that the upstream stops too. */
  abandon(): void {
    this.abandoned = true
    this.#held?.giveUp()
    this.#controller?.abort(new Error('the client went away'))
  }

  /** No answer, or not the whole of one. */
  failed(error: unknown): void {
    this.#held?.giveUp()
    if (!this.abandoned) this.#receiver.failed(upstreamFault(error, this.isSent), this.isSent)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.abandoned) controller.abort(new Error('the client went away'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) {
      this.#informational += 1
      if (this.#informational > MAX_INFORMATIONAL) controller.abort(new errors.HTTPParserError('interim answers alone'))
      return
    }
    if (status > HIGHEST_STATUS) {
      controller.abort(new errors.HTTPParserError(`status ${status}`))
      return
    }
    const headers = downstreamHeaders(rawHeaders(controller))
    if (status >= 400) {
      const errorType = headerValue(headers, 'x-amzn-errortype')
      const throttles = isThrottle(status, errorType)
      if (throttles || isFailure(status, errorType)) {
        const giveUp = this.#clock.after(LONGEST_HELD_MS, () => this.#handOnLate(controller))
        this.#held = { isThrottle: throttles, status, headers, chunks: [], bytes: 0, giveUp }
        return
      }
    }
    if (status < 300) this.#usage = createUsageReader(this.#operation, name => headerValue(headers, name))
    this.#receiver.head(status, headers, this)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.abandoned) return
    const held = this.#held
    if (!held) {
      this.#usage?.push(chunk)
      this.#receiver.data(chunk)
      return
    }
    held.bytes += chunk.length
    held.chunks.push(chunk)
    if (held.bytes > MAX_HELD_BYTES) this.#handOn(held)
  }

  onResponseEnd(): void {
    if (this.abandoned) return
    if (!this.#held) {
      this.#receiver.end(this.#usage?.end(), this.#usage?.exception?.())
      return
    }
    const { isThrottle, status, headers, chunks, giveUp } = this.#held
    giveUp()
    const body = Buffer.concat(chunks)
    if (isThrottle) this.#receiver.throttled({ status, headers, body }, throttleSubject(body))
    else this.#receiver.errored({ status, headers, body })
  }

  /** Too long or too slow to hold back: its client gets it after all. */
  #handOn(held: Held | undefined): void {
    if (!held || this.abandoned) return
    const { status, headers, chunks } = held
    held.giveUp()
    this.#held = undefined
    this.#receiver.head(status, headers, this)
    for (const chunk of chunks) this.#receiver.data(chunk)
  }

  /** A head that cannot be written ends the call, as it does where undici is the one that hears of it. */
  #handOnLate(controller: Dispatcher.DispatchController): void {
    try {
      this.#handOn(this.#held)
    } catch (error) {
      controller.abort(error instanceof Error ? error : new Error(String(error)))
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.failed(error)
  }
}

/** Each of them begins the wait for the head anew. */
const MAX_INFORMATIONAL = 32

/** HTTP knows none beyond, and node's HTTP/2 would refuse to write one. */
const HIGHEST_STATUS = 599

function rawHeaders(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders
  if (!Array.isArray(raw)) return []
  return raw.map(part => (typeof part === 'string' ? part : part.toString('latin1')))
}
