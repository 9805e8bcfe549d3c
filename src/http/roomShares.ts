// How much of a room that clients share one of them may hold: so many times what is free ("dynamic thresholds", Choudhury and
// Hahne 1998). One alone fills four fifths of it, two that want all get four ninths each, and whoever comes then finds some.

const TIMES_FREE = 4

export class RoomShares {
  /** By client of the config. */
  readonly #held = new Map<string, number>()

  /** Whether it may take `amount`, of `free`. */
  allows(client: string, amount: number, free: number): boolean {
    return (this.#held.get(client) ?? 0) + amount <= TIMES_FREE * (free - amount)
  }

  /** Negative: it gives back. */
  took(client: string, amount: number): void {
    const held = (this.#held.get(client) ?? 0) + amount
    if (held > 0) this.#held.set(client, held)
    else this.#held.delete(client)
  }
}
