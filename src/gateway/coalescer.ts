// Identical invocations in flight share one call and one charge, where the model's settings say so: of one client, or of
// all. Never across priority classes: who is high would wait in the line of who is low.
import { Flight, type FlightParts } from './flight.ts'
import { invocationKey } from './invocationKey.ts'
import { Participant } from './participant.ts'
import type { Answer, Finished, Handler, Invocation } from './ports.ts'
import { Kept } from './recording.ts'

export type CoalescerParts = Omit<FlightParts, 'kept'>

export class Coalescer implements Handler {
  readonly #parts: FlightParts
  /** Those that may still be joined, by key. */
  readonly #open = new Map<string, Flight>()

  constructor(parts: CoalescerParts, kept = new Kept()) {
    this.#parts = { ...parts, kept }
  }

  handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const { model, demand, request } = invocation
    // Who asks twice for a job wants two.
    const isJob = request.operation.name === 'StartAsyncInvoke'
    if (!demand || !model || model.coalesce === 'off' || isJob) return this.#parts.inner.handle(invocation, answer)
    const key = `${invocation.flow.priority}:${invocationKey(invocation, model.coalesce === 'shared')}`
    return this.#share(key, new Participant(invocation, answer, this.#parts.clock))
  }

  async #share(key: string, participant: Participant): Promise<Finished> {
    for (;;) {
      if (participant.invocation.presence.isGone) return participant.finished('left')
      const flight = this.#open.get(key) ?? this.#newFlight(key)
      const end = await flight.board(participant)
      if (end !== 'regroup') return participant.finished(end)
    }
  }

  #newFlight(key: string): Flight {
    const flight: Flight = new Flight(key, this.#parts, () => {
      if (this.#open.get(key) === flight) this.#open.delete(key)
    })
    this.#open.set(key, flight)
    return flight
  }
}
