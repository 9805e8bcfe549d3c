// One reply on its way back. A throttle is collected whole, everything else is handed on at once; usage is read in passing.
import type { Dispatcher } from 'undici'
import type { FlowControl, Receiver } from '../gateway/ports.ts'
import type { Operation } from '../wire/operations.ts'
import { createUsageReader, type UsageReader } from '../wire/usage.ts'
import { downstreamHeaders, headerValue } from './headers.ts'
import { isThrottle, throttledDimension } from './throttle.ts'
import { upstreamFault } from './upstreamFault.ts'

/** Bedrock's throttles have 63 bytes. What is longer is not collected beyond this. */
const MAX_THROTTLE_BYTES = 64 * 1024

interface Collected {
  status: number
  headers: string[]
  chunks: Buffer[]
  bytes: number
}

export class Reply implements Dispatcher.DispatchHandler, FlowControl {
  readonly #operation: Operation
  readonly #receiver: Receiver
  #controller: Dispatcher.DispatchController | undefined
  #usage: UsageReader | undefined
  #throttle: Collected | undefined
  abandoned = false

  constructor(operation: Operation, receiver: Receiver) {
    this.#operation = operation
    this.#receiver = receiver
  }

  pause(): void {
    if (!this.#controller?.paused) this.#controller?.pause()
  }

  resume(): void {
    if (this.#controller?.paused) this.#controller.resume()
  }

  /** The client went away: the connection is torn down, so that the upstream stops too. */
  abandon(): void {
    this.abandoned = true
    this.#controller?.abort(new Error('the client went away'))
  }

  /** No answer, or not the whole of one. The request counts as sent once a connection has been found for it. */
  failed(error: unknown): void {
    const sent = this.#controller !== undefined
    if (!this.abandoned) this.#receiver.failed(upstreamFault(error, sent), sent)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.abandoned) controller.abort(new Error('the client went away'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return
    const headers = downstreamHeaders(rawHeaders(controller))
    if (isThrottle(status, headerValue(headers, 'x-amzn-errortype'))) {
      this.#throttle = { status, headers, chunks: [], bytes: 0 }
      return
    }
    if (status < 300) this.#usage = createUsageReader(this.#operation, name => headerValue(headers, name))
    this.#receiver.head(status, headers, this)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.abandoned) return
    if (this.#throttle) {
      this.#throttle.bytes += chunk.length
      if (this.#throttle.bytes <= MAX_THROTTLE_BYTES) this.#throttle.chunks.push(chunk)
      return
    }
    this.#usage?.push(chunk)
    this.#receiver.data(chunk)
  }

  onResponseEnd(): void {
    if (this.abandoned) return
    if (this.#throttle) {
      const { status, headers, chunks } = this.#throttle
      const body = Buffer.concat(chunks)
      this.#receiver.throttled({ status, headers, body }, throttledDimension(body))
    } else {
      this.#receiver.end(this.#usage?.end())
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.failed(error)
  }
}

function rawHeaders(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders
  if (!Array.isArray(raw)) return []
  return raw.map(part => (typeof part === 'string' ? part : part.toString('latin1')))
}
