// Around everything else, while somebody traces: begins an invocation's trace as it comes and ends it with what came of it.
import type { Answer, Finished, Handler, Invocation } from './ports.ts'
import type { Trace } from './tracePorts.ts'

/** A trace that its owner can end. */
export interface OpenTrace extends Trace {
  /** Exactly once. `run` is absent when a fault of ours ended it. */
  finished(run?: Finished): void
}

export interface Tracer {
  /** Undefined: nothing of this one is recorded. Never throws. */
  begin(invocation: Invocation): OpenTrace | undefined
}

export class Traced implements Handler {
  readonly #inner: Handler
  readonly #tracer: Tracer

  constructor(inner: Handler, tracer: Tracer) {
    this.#inner = inner
    this.#tracer = tracer
  }

  handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const trace = this.#tracer.begin(invocation)
    if (!trace) return this.#inner.handle(invocation, answer)
    return this.#traced({ ...invocation, traceId: trace.id, trace }, answer, trace)
  }

  async #traced(invocation: Invocation, answer: Answer, trace: OpenTrace): Promise<Finished> {
    let run: Finished | undefined
    try {
      run = await this.#inner.handle(invocation, answer)
      return run
    } finally {
      trace.finished(run)
    }
  }
}
