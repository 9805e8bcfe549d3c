// Stands before a client's answer while something else may still answer in its place: an ending that can be rescued is held
// back, everything else passes at once, unchanged.
import type { Clock } from '../domain/clock.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes } from './ports.ts'
import { isRescuableRefusal, isRescuableStatus } from './rescuable.ts'

/** Bedrock's errors have some hundred bytes. A longer one is its client's after all … */
const MOST_HELD_BYTES = 64 * 1024
/** … and so is one that takes so long to arrive. */
const LONGEST_HELD_MS = 2_000
const UNSENDABLE: Refusal = { code: 'upstream-invalid', message: "The head of Bedrock's answer cannot be passed on." }

type Held =
  | { kind: 'refusal'; refusal: Refusal; notes: Partial<Notes> | undefined }
  | {
      kind: 'reply'
      status: number
      headers: string[]
      notes: Notes
      flow: FlowControl
      chunks: Buffer[]
      bytes: number
      ending: 'open' | 'end' | 'cut'
    }

export class Guard implements Answer {
  readonly #answer: Answer
  readonly #clock: Clock
  #held: Held | undefined
  #refusal: Refusal | undefined
  #stopWaiting: () => void = () => {}

  constructor(answer: Answer, clock: Clock) {
    this.#answer = answer
    this.#clock = clock
  }

  /** Why a fallback is due, as a refusal's code or Bedrock's status; undefined when nothing is held back. */
  get reason(): string | undefined {
    const held = this.#held
    if (!held) return undefined
    return held.kind === 'refusal' ? held.refusal.code : String(held.status)
  }

  /** What its client was told when the head that had been held back could not be written. */
  get refusal(): Refusal | undefined {
    return this.#refusal
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    if (!isRescuableStatus(status)) {
      this.#answer.head(status, headers, notes, flow)
      return
    }
    this.#held = { kind: 'reply', status, headers, notes, flow, chunks: [], bytes: 0, ending: 'open' }
    this.#stopWaiting = this.#clock.after(LONGEST_HELD_MS, () => this.deliver())
  }

  data(chunk: Buffer): void {
    const held = this.#held
    if (held?.kind !== 'reply') {
      if (!this.#refusal) this.#answer.data(chunk)
      return
    }
    // A copy: a chunk may be a corner of a larger buffer.
    held.chunks.push(Buffer.from(chunk))
    held.bytes += chunk.length
    if (held.bytes > MOST_HELD_BYTES) this.deliver()
  }

  end(): void {
    if (this.#held?.kind === 'reply') this.#over('end')
    else if (!this.#refusal) this.#answer.end()
  }

  cut(): void {
    if (this.#held?.kind === 'reply') this.#over('cut')
    else if (!this.#refusal) this.#answer.cut()
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    if (isRescuableRefusal(refusal)) this.#held = { kind: 'refusal', refusal, notes }
    else this.#answer.refuse(refusal, notes)
  }

  left(): void {
    this.#stopWaiting()
    this.#answer.left?.()
  }

  /** What is held back goes to the client as it would have gone, and so does all that follows. */
  deliver(): void {
    const held = this.#held
    if (!held) return
    this.#stopWaiting()
    this.#held = undefined
    if (held.kind === 'refusal') {
      this.#answer.refuse(held.refusal, held.notes)
      return
    }
    try {
      this.#answer.head(held.status, held.headers, held.notes, held.flow)
    } catch {
      // Whoever sent the head has gone on since.
      this.#refusal = UNSENDABLE
      this.#answer.refuse(UNSENDABLE, held.notes)
      return
    }
    for (const chunk of held.chunks) this.#answer.data(chunk)
    if (held.ending === 'end') this.#answer.end()
    else if (held.ending === 'cut') this.#answer.cut()
  }

  /** Nothing more will come; no timer is left behind. */
  stop(): void {
    this.#stopWaiting()
  }

  #over(ending: 'end' | 'cut'): void {
    this.#stopWaiting()
    if (this.#held?.kind === 'reply') this.#held.ending = ending
  }
}
