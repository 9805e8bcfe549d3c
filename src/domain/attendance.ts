// Which gateways are still there, in the time that those who wait have lived: without the clock's steps. While anybody waits
// somebody calls every second, so a longer silence is the clock's doing, or everybody's, and nobody's fault.
import { goneTickets, isSilent, silentGateways } from './sweep.ts'
import type { Ticket } from './ticket.ts'

const LONGEST_SILENCE_MS = 5_000
/** A clock that steps back by less stands still; by more, it has been replaced. */
export const CLOCK_STEP_MS = 2_000
/** Those who are gone are looked for so often. */
const SWEEP_MS = 1_000

export class Attendance {
  readonly #heard = new Map<string, number>()
  #skewMs = 0
  #sweptMs = 0

  /** The clock has moved by `elapsedMs` since the last call, while somebody waited. */
  pass(elapsedMs: number): void {
    if (elapsedMs > LONGEST_SILENCE_MS || elapsedMs < -CLOCK_STEP_MS) this.#skewMs += elapsedMs
  }

  lived(nowMs: number): number {
    return nowMs - this.#skewMs
  }

  hear(gateway: string, nowMs: number): void {
    this.#heard.set(gateway, this.lived(nowMs))
  }

  count(nowMs: number): number {
    return [...this.#heard.values()].filter(heardMs => !isSilent(heardMs, this.lived(nowMs))).length
  }

  /** Whether it is time to look for those who are gone; if so, it has been done. */
  isSweepDue(nowMs: number): boolean {
    const lived = this.lived(nowMs)
    if (lived < this.#sweptMs + SWEEP_MS && lived >= this.#sweptMs) return false
    this.#sweptMs = lived
    return true
  }

  /** Tickets nobody waits for any more. */
  gone(waiting: Iterable<Ticket>, nowMs: number): Ticket[] {
    return goneTickets(waiting, this.#silent(nowMs), this.lived(nowMs))
  }

  /** Silent gateways that nothing that waits is left of. */
  forget(waiting: Iterable<Ticket>, nowMs: number): void {
    const silent = this.#silent(nowMs)
    const awaited = new Set(silent.length > 0 ? [...waiting].map(ticket => ticket.gateway) : [])
    for (const name of silent) if (!awaited.has(name)) this.#heard.delete(name)
  }

  #silent(nowMs: number): string[] {
    return silentGateways(this.#heard, this.lived(nowMs))
  }
}
