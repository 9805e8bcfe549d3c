// The answer of a model that was asked in another's place. A good one goes to the client, labelled, as it comes. What that
// model says no to was not asked of it by the client, who hears none of it.
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, FlowControl, Notes } from './ports.ts'

export class Trial implements Answer {
  readonly #answer: Answer
  #state: 'asked' | 'answering' | 'failed' = 'asked'

  constructor(answer: Answer) {
    this.#answer = answer
  }

  /** `asked`: it came to nothing, because the client left. */
  get state() {
    return this.#state
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    if (status >= 400) {
      this.#state = 'failed'
      return
    }
    this.#answer.head(status, headers, { ...notes, fallback: 'model' }, flow)
    this.#state = 'answering'
  }

  data(chunk: Buffer): void {
    if (this.#state === 'answering') this.#answer.data(chunk)
  }

  end(): void {
    if (this.#state === 'answering') this.#answer.end()
  }

  cut(): void {
    if (this.#state === 'answering') this.#answer.cut()
  }

  refuse(_refusal: Refusal): void {
    this.#state = 'failed'
  }

  left(): void {
    this.#answer.left?.()
  }
}
