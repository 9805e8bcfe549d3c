// Which clients have series of their own. Names may come from an identity provider, so there may be any number of them: at
// most MOST_NAMED have one, whoever comes first, and all others are `other` together. A name is kept, so that series do not
// come and go; once in REVIEW_MS those who were used least make room for those among the others who were used far more.
import { Heaviest } from './heaviest.ts'

/** The label of all who have none of their own; a client of that name is one of them. */
export const OTHER = 'other'
export const MOST_NAMED = 50
/** Whoever has more than one part in so many of the others' use is known at a review, however many they are. */
const CANDIDATES = 200
const REVIEW_MS = 3_600_000
const MOST_CHANGES = 5
/** So many times the use of whom it displaces: less is no reason to break two series. */
const CLEARLY_MORE = 2
/** A request weighs as much as so many tokens. */
const TOKENS_A_REQUEST = 1_000

/** Of one client since the last review. */
interface Use {
  amount: number
}

export class NamedClients {
  readonly #named = new Map<string, Use>()
  readonly #candidates = new Heaviest(CANDIDATES)
  #reviewedMs: number | undefined

  /** The client's name when it has series of its own, else `other`. */
  labelOf(client: string): string {
    if (this.#named.has(client)) return client
    if (this.#named.size >= MOST_NAMED || client === OTHER) return OTHER
    this.#named.set(client, { amount: 0 })
    return client
  }

  used(client: string, tokens: number): void {
    const amount = TOKENS_A_REQUEST + tokens
    const use = this.#named.get(client)
    if (use) use.amount += amount
    else if (client !== OTHER) this.#candidates.add(client, amount)
  }

  /** The names that are given up now; at most MOST_CHANGES, and none unless a review is due. */
  review(nowMs: number): string[] {
    this.#reviewedMs ??= nowMs
    if (nowMs - this.#reviewedMs < REVIEW_MS) return []
    this.#reviewedMs = nowMs
    const least = [...this.#named].sort(([, a], [, b]) => a.amount - b.amount)
    const leaving: string[] = []
    for (const [i, [newcomer, atLeast]] of this.#candidates.most(MOST_CHANGES).entries()) {
      const [name, was] = least[i]!
      if (atLeast <= CLEARLY_MORE * was.amount) break
      this.#named.delete(name)
      this.#named.set(newcomer, { amount: 0 })
      leaving.push(name)
    }
    for (const use of this.#named.values()) use.amount = 0
    this.#candidates.clear()
    return leaving
  }
}
