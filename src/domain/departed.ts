// Who left the line without a turn, and may come back: a client's SDK that gave up asks again by the same invocation id. It
// regains its place in its user's line, and what its flow lagged behind while it waited. What it was away for counts for
// nothing, and what it regains it has once: so coming and going wins nobody more than staying.
import type { TicketAsk } from './ticket.ts'

/** What a flow lagged behind, in seconds of quota, when the last of its user, and of its client, left; else 0. */
export interface Lag {
  userS: number
  clientS: number
}

export interface Departure extends Lag {
  /** Its ticket's key: its number in order of entry. */
  key: string
  leftMs: number
}

const KEPT_MS = 60_000
const MOST = 10_000
/** Each who leaves clears away so many that are too old or too many; each sweep this many. */
const PRUNED = 2
const SWEPT = 100

export class Departed {
  /** Those who left first come first. */
  readonly #byName = new Map<string, Departure>()

  keep(ask: TicketAsk, departure: Departure): void {
    const name = nameOf(ask)
    this.#byName.delete(name)
    this.#byName.set(name, departure)
    this.#prune(PRUNED, departure.leftMs)
  }

  /** Regained once; undefined when it did not leave lately. */
  take(ask: TicketAsk, nowMs: number): Departure | undefined {
    const name = nameOf(ask)
    const departure = this.#byName.get(name)
    this.#byName.delete(name)
    return departure && !isOver(departure, nowMs) ? departure : undefined
  }

  sweep(nowMs: number): void {
    this.#prune(SWEPT, nowMs)
  }

  names(): string[] {
    return [...this.#byName.keys()]
  }

  #prune(most: number, nowMs: number): void {
    let count = 0
    for (const [name, departure] of this.#byName) {
      if (count === most || (this.#byName.size <= MOST && !isOver(departure, nowMs))) return
      this.#byName.delete(name)
      count += 1
    }
  }
}

/** A clock that was set back does not make it last. */
function isOver({ leftMs }: Departure, nowMs: number): boolean {
  return Math.abs(nowMs - leftMs) >= KEPT_MS
}

/** Nobody can regain what another flow's was. */
function nameOf({ rank, client, user, invocation }: TicketAsk): string {
  return `${rank}:${client.length}:${client}:${user.length}:${user}:${invocation}`
}
