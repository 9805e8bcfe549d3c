// Calls whose client has left and that run on. Bedrock does not stop with its reader and charges the whole answer, so what was
// charged is known only to those who hear it out. So many at once, each for a bounded time.
import type { Clock } from '../domain/clock.ts'

/** The longest answers take some twenty minutes. */
const LONGEST_MS = 30 * 60_000

export class Unattended {
  readonly #most: number
  readonly #clock: Clock
  /** How to give up each of them. */
  readonly #calls = new Set<() => void>()
  #isClosed = false
  #whenNone: () => void = () => {}

  constructor(most: number, clock: Clock) {
    this.#most = most
    this.#clock = clock
  }

  get size(): number {
    return this.#calls.size
  }

  /**
   * Room for one more; undefined: there is none. What is returned is to be called once, when the call has ended. `giveUp` has to
   * end it; it may be called more than once.
   */
  take(giveUp: () => void): (() => void) | undefined {
    if (this.#isClosed || this.#calls.size >= this.#most) return undefined
    const cancel = this.#clock.after(LONGEST_MS, giveUp)
    this.#calls.add(giveUp)
    return () => {
      cancel()
      this.#calls.delete(giveUp)
      if (this.#calls.size === 0) this.#whenNone()
    }
  }

  /** Takes no more. Resolves when all have ended; those that have not within `graceMs` are given up. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true
    if (this.#calls.size === 0) return
    const none = new Promise<void>(resolve => {
      this.#whenNone = resolve
    })
    const cancel = this.#clock.after(graceMs, () => {
      for (const giveUp of [...this.#calls]) giveUp()
    })
    await none
    cancel()
  }
}
