// The heaviest of any number of names, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi: Efficient computation of
// frequent and top-k elements in data streams, 2005). Who is not held takes the place of the lightest and begins with its
// amount, which may be too much by as much. So every name with more than 1/places of all amounts is held, whenever it came.

interface Held {
  /** At most this. */
  amount: number
  /** Of that, what may be somebody else's. */
  error: number
}

export class Heaviest {
  readonly #places: number
  readonly #held = new Map<string, Held>()

  constructor(places: number) {
    this.#places = places
  }

  add(name: string, amount: number): void {
    const held = this.#held.get(name)
    if (held) held.amount += amount
    else {
      const error = this.#held.size < this.#places ? 0 : this.#dropLightest()
      this.#held.set(name, { amount: error + amount, error })
    }
  }

  /** The heaviest first, by what each has certainly had. */
  most(count: number): [name: string, atLeast: number][] {
    const all = [...this.#held].map(([name, { amount, error }]): [string, number] => [name, amount - error])
    return all.sort(([, a], [, b]) => b - a).slice(0, count)
  }

  clear(): void {
    this.#held.clear()
  }

  #dropLightest(): number {
    let lightest = ''
    let least = Number.POSITIVE_INFINITY
    for (const [name, { amount }] of this.#held) {
      if (amount >= least) continue
      lightest = name
      least = amount
    }
    this.#held.delete(lightest)
    return least
  }
}
