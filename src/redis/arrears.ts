// What Redis has not been told, because it was away: tickets in its line that nobody waits for there any more, and charges.
import { parts } from './batch.ts'
import type { Charge, RoomCalls } from './roomCalls.ts'

/** The newest are kept. One that is dropped stands as reserved: Redis ends the reservation by itself, later. */
export const MOST_CHARGES = 10_000

export class Arrears {
  readonly #leftBehind = new Set<string>()
  #charges: Charge[] = []

  get owed(): number {
    return this.#charges.length
  }

  /** In line, or granted without our having heard of it: to be withdrawn, or given back whole. */
  leave(ticketIds: string[]): void {
    for (const id of ticketIds) this.#leftBehind.add(id)
  }

  owe(charges: Charge[]): void {
    this.#charges = [...this.#charges, ...charges].slice(-MOST_CHARGES)
  }

  /** Rejects when Redis does not answer; then what may not have been told stays. */
  async tell(calls: RoomCalls): Promise<void> {
    for (const ids of parts([...this.#leftBehind])) {
      const { results } = await calls.cancel(ids)
      for (const [index, id] of ids.entries()) {
        this.#leftBehind.delete(id)
        if (results[index]!.kind === 'granted') this.owe([{ ticketId: id, tokens: 0 }])
      }
    }
    for (const charges of parts([...this.#charges])) {
      await calls.settle(charges)
      const told = new Set(charges)
      this.#charges = this.#charges.filter(charge => !told.has(charge))
    }
  }

  takeCharges(): Charge[] {
    return this.#charges.splice(0)
  }
}
