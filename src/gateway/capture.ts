// A copy of a good answer, made as it passes: each chunk goes to the client first. What is copied at once, by all captures
// together, has a bound; an answer that would exceed it, or its own, is not kept.
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes, WholeReply } from './ports.ts'

const FIRST_BYTES = 4 * 1024

/** Bytes that captures may hold together. */
export class CaptureSpace {
  #leftBytes: number

  constructor(bytes: number) {
    this.#leftBytes = bytes
  }

  get leftBytes(): number {
    return this.#leftBytes
  }

  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false
    this.#leftBytes -= bytes
    return true
  }

  giveBack(bytes: number): void {
    this.#leftBytes += bytes
  }
}

export class Capture implements Answer {
  readonly #answer: Answer
  readonly #maxBytes: number
  readonly #space: CaptureSpace
  #headers: string[] | undefined
  /** Undefined while there is nothing to keep, or it is not worth keeping. A copy: a chunk may be a corner of a larger buffer. */
  #bytes: Buffer | undefined
  #length = 0
  #isWhole = false

  constructor(answer: Answer, maxBytes: number, space: CaptureSpace) {
    this.#answer = answer
    this.#maxBytes = maxBytes
    this.#space = space
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#answer.head(status, headers, notes, flow)
    if (status !== 200 || isEncoded(headers)) return
    this.#headers = headers
    this.#grow(Math.min(FIRST_BYTES, this.#maxBytes))
  }

  data(chunk: Buffer): void {
    this.#answer.data(chunk)
    const length = this.#length + chunk.length
    if (this.#bytes && length > this.#bytes.length) this.#grow(length)
    if (!this.#bytes) return
    chunk.copy(this.#bytes, this.#length)
    this.#length = length
  }

  end(): void {
    this.#answer.end()
    this.#isWhole = true
  }

  cut(): void {
    this.#answer.cut()
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    this.#answer.refuse(refusal, notes)
  }

  /** The rest of it is not heard here. */
  left(): void {
    this.drop()
    this.#answer.left?.()
  }

  /** The answer, if it was whole, and all of it was kept. Its bytes are the capture's until `drop`. */
  get reply(): WholeReply | undefined {
    if (!this.#bytes || !this.#isWhole) return undefined
    return { status: 200, headers: this.#headers!, body: this.#bytes.subarray(0, this.#length) }
  }

  drop(): void {
    this.#space.giveBack(this.#bytes?.length ?? 0)
    this.#bytes = undefined
  }

  /** To at least `least` bytes, doubling; dropped for good where a bound is in the way. */
  #grow(least: number): void {
    const before = this.#bytes
    const held = before?.length ?? 0
    const wanted = Math.min(this.#maxBytes, Math.max(least, 2 * held))
    if (least > this.#maxBytes || !this.#space.take(wanted - held)) {
      this.drop()
      return
    }
    this.#bytes = Buffer.allocUnsafeSlow(wanted)
    before?.copy(this.#bytes, 0, 0, this.#length)
  }
}

/** A client that cannot decode it may ask the same: what it accepts is not part of what makes requests identical. */
function isEncoded(headers: string[]): boolean {
  const at = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-encoding')
  return at >= 0 && headers[at + 1]!.toLowerCase() !== 'identity'
}
