// The credentials that were right of late, each at the address it came from. Bounded in all and for each client at each
// address, so that whoever gets new tokens all the time pushes out its own, and not its neighbours'.
interface Standing {
  holder: string
  isDisputed: boolean
}

const MOST = 10_000
const MOST_OF_ONE = 1_000

export class ProvenCredentials {
  /** By credential and address. */
  readonly #standing = new Map<string, Standing>()
  /** The same by client and address; who was right longest ago comes first, in both. */
  readonly #held = new Map<string, Set<string>>()

  /** `holder`: a client at an address. */
  prove(key: string, holder: string): void {
    this.forget(key)
    const own = this.#held.get(holder) ?? new Set()
    this.#held.delete(holder)
    this.#held.set(holder, own.add(key))
    this.#standing.set(key, { holder, isDisputed: false })
    if (own.size > MOST_OF_ONE) this.forget(oldestOf(own))
    else if (this.#standing.size > MOST) this.forget(oldestOf(this.#held.values().next().value!))
  }

  has(key: string): boolean {
    return this.#standing.has(key)
  }

  /** Whether nobody has been wrong in its name since. */
  isUndisputed(key: string): boolean {
    return this.#standing.get(key)?.isDisputed === false
  }

  /** Until it is proven again. */
  dispute(key: string): void {
    const standing = this.#standing.get(key)
    if (standing) standing.isDisputed = true
  }

  forget(key: string): void {
    const standing = this.#standing.get(key)
    if (!standing) return
    this.#standing.delete(key)
    const own = this.#held.get(standing.holder)!
    own.delete(key)
    if (own.size === 0) this.#held.delete(standing.holder)
  }
}

function oldestOf(keys: Set<string>): string {
  return keys.values().next().value!
}
