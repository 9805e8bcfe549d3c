// Items in the order of a score, ties by key: what the scheduler ranks by, and exactly what a Redis sorted set is.
// Keys are ASCII, so that their order here is the order of their bytes there.

interface Entry<Item> {
  score: number
  key: string
  item: Item
}

export class SortedSet<Item> {
  readonly #entries: Entry<Item>[] = []
  readonly #scores = new Map<string, number>()

  get size(): number {
    return this.#entries.length
  }

  scoreOf(key: string): number | undefined {
    return this.#scores.get(key)
  }

  /** Adds the item, or moves it to its new place. */
  set(key: string, score: number, item: Item): void {
    this.delete(key)
    this.#entries.splice(this.#place(score, key), 0, { score, key, item })
    this.#scores.set(key, score)
  }

  delete(key: string): void {
    const score = this.#scores.get(key)
    if (score === undefined) return
    this.#scores.delete(key)
    this.#entries.splice(this.#place(score, key), 1)
  }

  /** Removes every item with a score of at most `score`. */
  deleteUpTo(score: number): void {
    let count = 0
    for (const entry of this.#entries) {
      if (entry.score > score) break
      this.#scores.delete(entry.key)
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
