// How much of a room that clients share one of them may hold: so many times what is free to its class ("dynamic thresholds",
// Choudhury and Hahne 1998). One alone fills four fifths of what its class may, two that want all four ninths each, and so on.

const TIMES_FREE = 4

export class RoomShares {
  /** By client. */
  readonly #held = new Map<string, number>()

  /**
   * Whether it may take `amount` more for a request that holds `own` already, of `free`. What would be its only request is not
   * measured: or none could be as large as the whole of the room allows.
   */
  allows(client: string, amount: number, own: number, free: number): boolean {
    const held = this.#held.get(client) ?? 0
    return held === own || held + amount <= TIMES_FREE * (free - amount)
  }

  /** Negative: it gives back. */
  took(client: string, amount: number): void {
    const held = (this.#held.get(client) ?? 0) + amount
    if (held > 0) this.#held.set(client, held)
    else this.#held.delete(client)
  }
}
