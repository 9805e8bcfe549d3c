// An answer that tells its client something more, with whatever it is answered; all else passes as it is.
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes } from './ports.ts'

/** What there is to add to what is told; undefined: nothing. */
export type Note = (told: Partial<Notes> | undefined) => Partial<Notes> | undefined

export class NotedAnswer implements Answer {
  readonly #answer: Answer
  readonly #note: Note

  constructor(answer: Answer, note: Note) {
    this.#answer = answer
    this.#note = note
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#answer.head(status, headers, { ...notes, ...this.#note(notes) }, flow)
  }

  data(chunk: Buffer): void {
    this.#answer.data(chunk)
  }

  end(): void {
    this.#answer.end()
  }

  cut(): void {
    this.#answer.cut()
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    const more = this.#note(notes)
    this.#answer.refuse(refusal, more ? { ...notes, ...more } : notes)
  }

  left(): void {
    this.#answer.left?.()
  }
}
