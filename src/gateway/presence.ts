// Whether the client is still there. An AbortSignal would do, at 4 µs a request; here one party at a time needs to know:
// whoever holds the invocation.

export class Presence {
  #isGone = false
  #whenGone: (() => void) | undefined

  get isGone(): boolean {
    return this.#isGone
  }

  /** Replaces whoever watched before; undefined: nobody. A leave that has been is not told again. */
  watch(whenGone: (() => void) | undefined): void {
    this.#whenGone = whenGone
  }

  /** The client went away, for good. */
  leave(): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#whenGone?.()
  }
}
