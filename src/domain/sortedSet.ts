// Items in the order of a score, ties by key: what the scheduler ranks by, and exactly what a Redis sorted set is.
// Keys are ASCII, so that their order here is the order of their bytes there.

interface Entry<Item> {
  score: number
  key: string
  item: Item
}

export class SortedSet<Item> {
  readonly #entries: Entry<Item>[] = []
  readonly #byKey = new Map<string, Entry<Item>>()

  get size(): number {
    return this.#entries.length
  }

  scoreOf(key: string): number | undefined {
    return this.#byKey.get(key)?.score
  }

  /** Adds the item, or moves it to its new place. */
  set(key: string, score: number, item: Item): void {
    const known = this.#byKey.get(key)
    if (known && this.#staysAt(this.#place(known.score, key), score, key)) {
      known.score = score
      known.item = item
      return
    }
    if (known) this.delete(key)
    const entry = { score, key, item }
    this.#entries.splice(this.#place(score, key), 0, entry)
    this.#byKey.set(key, entry)
  }

  delete(key: string): void {
    const entry = this.#byKey.get(key)
    if (!entry) return
    this.#byKey.delete(key)
    this.#entries.splice(this.#place(entry.score, key), 1)
  }

  /** Removes every item with a score of at most `score`. */
  deleteUpTo(score: number): void {
    let count = 0
    for (const entry of this.#entries) {
      if (entry.score > score) break
      this.#byKey.delete(entry.key)
      count += 1
    }
    if (count > 0) this.#entries.splice(0, count)
  }

  at(index: number): Item | undefined {
    return this.#entries[index]?.item
  }

  /** The first `count` items. */
  first(count: number): Item[] {
    return this.#entries.slice(0, count).map(entry => entry.item)
  }

  /** Key and score of each item, in order. */
  entries(): [string, number][] {
    return this.#entries.map(entry => [entry.key, entry.score])
  }

  /** Whether what is at `index` would be there with the new score too. */
  #staysAt(index: number, score: number, key: string): boolean {
    const before = this.#entries[index - 1]
    const after = this.#entries[index + 1]
    const isAfter = !before || before.score < score || (before.score === score && before.key < key)
    return isAfter && (!after || score < after.score || (score === after.score && key < after.key))
  }

  #place(score: number, key: string): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      const entry = this.#entries[middle]!
      if (entry.score < score || (entry.score === score && entry.key < key)) low = middle + 1
      else high = middle
    }
    return low
  }
}
