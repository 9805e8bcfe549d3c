// The day's book: counts who is being seen to, and has a line written for each who has been.
import type { Answer, Handler, Invocation, Observer } from './ports.ts'

export class Book {
  readonly #handler: Handler
  readonly #observer: Observer
  #inFlight = 0
  #whenIdle: (() => void)[] = []

  constructor(handler: Handler, observer: Observer) {
    this.#handler = handler
    this.#observer = observer
  }

  /** Invocations accepted and not yet ended, waiting ones included. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Resolves when none is in flight. */
  async idle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>(resolve => this.#whenIdle.push(resolve))
  }

  /** Resolves when the invocation has ended. */
  async handle(invocation: Invocation, answer: Answer): Promise<void> {
    this.#inFlight += 1
    try {
      const run = await this.#handler.handle(invocation, answer)
      run.names = answer.names?.()
      this.#observer.finished(run)
    } finally {
      this.#inFlight -= 1
      if (this.#inFlight === 0) for (const tell of this.#whenIdle.splice(0)) tell()
    }
  }
}
