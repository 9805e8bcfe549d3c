// What a shared call has answered and the other replicas have not been told yet: bounded, for it reads at their pace.
import type { Refusal } from '../domain/refusal.ts'
import type { Hearer } from '../gateway/answerPorts.ts'
import type { FlowControl, Notes } from '../gateway/ports.ts'
import { CUT, dataFrame, END, GRANTED, headFrame, refusalFrame } from './flightFrames.ts'

/** So much untold pauses the reading. */
const MOST_UNTOLD_BYTES = 512 * 1024
/** A call to Redis takes at most so much, and what the last frame has more. */
const TOLD_AT_ONCE_BYTES = 256 * 1024

export class FlightRelay implements Hearer {
  readonly #changed: () => void
  /** Before the chunks. */
  #first: string[] = []
  #chunks: Buffer[] = []
  /** After them. */
  #last: string | undefined
  #untoldBytes = 0
  #flow: FlowControl | undefined
  #hasEnded = false
  #isStopped = false

  constructor(changed: () => void) {
    this.#changed = changed
  }

  /** The last frame has been taken. */
  get isTold(): boolean {
    return this.#hasEnded && this.isEmpty
  }

  get isEmpty(): boolean {
    return this.#first.length === 0 && this.#chunks.length === 0 && this.#last === undefined
  }

  granted(): void {
    this.#begin(GRANTED)
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#flow = flow
    this.#begin(headFrame(status, headers, notes))
  }

  data(chunk: Buffer): void {
    if (this.#isStopped) return
    this.#chunks.push(chunk)
    this.#untoldBytes += chunk.length
    if (this.#untoldBytes > MOST_UNTOLD_BYTES) this.#flow?.pause()
    this.#changed()
  }

  end(): void {
    this.#finish(END)
  }

  /** What was not told yet would not make it whole. */
  cut(): void {
    this.#chunks = []
    this.#finish(CUT)
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    this.#finish(refusalFrame(refusal, notes))
  }

  /** The next frames to tell, in order. */
  take(): string[] {
    const frames = this.#first.splice(0)
    for (let bytes = 0; this.#chunks.length > 0 && bytes < TOLD_AT_ONCE_BYTES; ) {
      const frame = dataFrame(this.#chunks)
      frames.push(frame)
      bytes += frame.length
    }
    if (this.#chunks.length === 0 && this.#last !== undefined) {
      frames.push(this.#last)
      this.#last = undefined
    }
    this.#untoldBytes = this.#chunks.reduce((sum, { length }) => sum + length, 0)
    if (this.#untoldBytes <= MOST_UNTOLD_BYTES) this.#flow?.resume()
    return frames
  }

  /** Nobody hears it any more: it holds up nobody and keeps nothing. */
  stop(): void {
    this.#isStopped = true
    this.#first = []
    this.#chunks = []
    this.#last = undefined
    this.#flow?.resume()
  }

  #begin(frame: string): void {
    if (this.#isStopped) return
    this.#first.push(frame)
    this.#changed()
  }

  #finish(frame: string): void {
    if (this.#isStopped) return
    this.#last = frame
    this.#hasEnded = true
    this.#changed()
  }
}
