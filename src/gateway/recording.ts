// One answer with many readers. Bytes are kept from the start, so that whoever joins late gets what has passed; once they
// outgrow their bound nobody may join any more, and only what the slowest reader has still to read is kept. Who reads slowly
// stalls nobody: the upstream is paused while all readers are, and a reader that falls further behind than the bound is cut.
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes } from './ports.ts'

export const KEPT_BYTES = 4 * 1024 * 1024
/** Of all recordings of a process; beyond it each may keep only … */
const TOTAL_BYTES = 64 * 1024 * 1024
const SCARCE_BYTES = 256 * 1024
/** What a kept chunk takes beside its bytes. */
const CHUNK_BYTES = 128

/** What all recordings of a process keep. */
export class Kept {
  bytes = 0

  get mostOfOne(): number {
    return this.bytes > TOTAL_BYTES ? SCARCE_BYTES : KEPT_BYTES
  }
}

interface Head {
  status: number
  headers: string[]
  notes: Notes
  flow: FlowControl
}

export class Recording {
  readonly #kept: Kept
  readonly #outgrown: () => void
  readonly #readings = new Map<Answer, Reading>()
  #head: Head | undefined
  #chunks: Buffer[] = []
  /** Chunks that are kept no longer. */
  #dropped = 0
  #bytes = 0
  #isWhole = true
  #isPaused = false
  #ending: 'open' | 'ended' | 'cut' | { refusal: Refusal; notes: Partial<Notes> | undefined } = 'open'

  /** `outgrown`: told when it stops being whole by its size. */
  constructor(kept: Kept, outgrown: () => void) {
    this.#kept = kept
    this.#outgrown = outgrown
  }

  get hasHead(): boolean {
    return this.#head !== undefined
  }

  /** The reader gets what has passed, at its own pace, then what comes. False: the start is gone, so it gets nothing. */
  attach(answer: Answer): boolean {
    if (!this.#isWhole) return false
    const reading = new Reading(answer, () => this.#flowed(reading))
    this.#readings.set(answer, reading)
    this.#read(reading)
    this.#steer()
    return true
  }

  detach(answer: Answer): void {
    if (!this.#readings.delete(answer)) return
    if (!this.#isWhole) this.#trim()
    this.#steer()
  }

  /** Nobody else will join: what every reader has read need not be kept. */
  forget(): void {
    this.#isWhole = false
    this.#trim()
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#head = { status, headers, notes, flow }
    this.#readAll()
  }

  data(chunk: Buffer): void {
    const own = ownBytes(chunk)
    this.#chunks.push(own)
    this.#count(own.length + CHUNK_BYTES)
    this.#readAll()
    if (this.#isWhole && this.#bytes > this.#kept.mostOfOne) {
      this.#isWhole = false
      this.#outgrown()
    }
    if (!this.#isWhole) this.#trim()
    this.#cutThoseBehind()
  }

  /** Each reader's answer ends when it has read all. */
  end(): void {
    this.#ending = 'ended'
    this.#readAll()
  }

  cut(): void {
    this.#ending = 'cut'
    this.#readAll()
  }

  refuse(refusal: Refusal, notes: Partial<Notes> | undefined): void {
    this.#ending = { refusal, notes }
    this.#readAll()
  }

  #readAll(): void {
    for (const reading of this.#readings.values()) this.#read(reading)
  }

  #read(reading: Reading): void {
    if (this.#ending !== 'open' && this.#ending !== 'ended') this.#fail(reading.answer, this.#ending)
    if (!this.#head || (!reading.hasHead && !this.#begin(reading, this.#head))) return
    const { answer } = reading
    while (!reading.isPaused && this.#readings.has(answer)) {
      const chunk = this.#chunks[reading.next - this.#dropped]
      if (chunk) {
        reading.next += 1
        answer.data(chunk)
      } else {
        if (this.#ending !== 'ended') return
        this.detach(answer)
        answer.end()
      }
    }
  }

  #fail(answer: Answer, ending: 'cut' | { refusal: Refusal; notes: Partial<Notes> | undefined }): void {
    this.detach(answer)
    if (ending === 'cut') answer.cut()
    else answer.refuse(ending.refusal, ending.notes)
  }

  /** A head that one client's protocol cannot carry is no fault of the others'. */
  #begin(reading: Reading, { status, headers, notes }: Head): boolean {
    reading.hasHead = true
    try {
      reading.answer.head(status, headers, notes, reading)
      return true
    } catch {
      this.detach(reading.answer)
      const message = "The head of Bedrock's answer cannot be passed on."
      reading.answer.refuse({ code: 'upstream-invalid', message })
      return false
    }
  }

  #flowed(reading: Reading): void {
    if (this.#readings.get(reading.answer) !== reading) return
    if (!reading.isPaused) this.#read(reading)
    if (!this.#isWhole) this.#trim()
    this.#steer()
  }

  #steer(): void {
    let isPaused = this.#readings.size > 0
    for (const reading of this.#readings.values()) isPaused &&= reading.isPaused
    if (isPaused === this.#isPaused) return
    this.#isPaused = isPaused
    if (isPaused) this.#head?.flow.pause()
    else this.#head?.flow.resume()
  }

  #trim(): void {
    let needed = this.#dropped + this.#chunks.length
    for (const { next } of this.#readings.values()) needed = Math.min(needed, next)
    if (needed === this.#dropped) return
    for (const chunk of this.#chunks.splice(0, needed - this.#dropped)) this.#count(-chunk.length - CHUNK_BYTES)
    this.#dropped = needed
  }

  /** While all are paused the upstream is, so nothing grows. */
  #cutThoseBehind(): void {
    while (!this.#isPaused && this.#bytes > this.#kept.mostOfOne) {
      const behind = [...this.#readings.values()].filter(({ next }) => next === this.#dropped)
      if (behind.length === 0) return
      for (const { answer } of behind) this.#fail(answer, 'cut')
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#kept.bytes += bytes
  }
}

class Reading implements FlowControl {
  readonly answer: Answer
  readonly #flowed: () => void
  /** The number of the chunk it reads next. */
  next = 0
  hasHead = false
  isPaused = false

  constructor(answer: Answer, flowed: () => void) {
    this.answer = answer
    this.#flowed = flowed
  }

  pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    this.#flowed()
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.#flowed()
  }
}

/** A small chunk is a part of a socket's whole read, which it would keep alive. */
function ownBytes(chunk: Buffer): Buffer {
  return chunk.buffer.byteLength > 2 * chunk.length ? Buffer.from(chunk) : chunk
}
