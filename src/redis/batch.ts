// What is added during one turn of the event loop goes out together, at its end; in bounded parts, because while a script
// runs Redis serves nobody else.

export const MOST_AT_ONCE = 100

export class Batch<Item> {
  readonly #soon: (task: () => void) => void
  readonly #send: (items: Item[]) => Promise<void>
  readonly #underWay = new Set<Promise<void>>()
  #items: Item[] = []

  constructor(soon: (task: () => void) => void, send: (items: Item[]) => Promise<void>) {
    this.#soon = soon
    this.#send = send
  }

  add(item: Item): void {
    this.#items.push(item)
    if (this.#items.length === 1) this.#soon(() => this.flush())
  }

  /** What has been added goes out now. */
  flush(): void {
    for (const part of parts(this.take())) {
      const sending = this.#send(part)
      this.#underWay.add(sending)
      void sending.finally(() => this.#underWay.delete(sending))
    }
  }

  /** Resolves when what has gone out so far has its answer. `send` must not reject. */
  async answered(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  get size(): number {
    return this.#items.length
  }

  /** What has not gone out, or at most so many of it; now it never will. */
  take(most = this.#items.length): Item[] {
    return this.#items.splice(0, most)
  }

  /** False when it has gone out already, or was never added. */
  remove(item: Item): boolean {
    const at = this.#items.indexOf(item)
    if (at < 0) return false
    // Not spliced: an emptied batch would be sent for once more.
    this.#items = this.#items.filter(other => other !== item)
    return true
  }
}

export function parts<Item>(items: Item[]): Item[][] {
  const all: Item[][] = []
  for (let at = 0; at < items.length; at += MOST_AT_ONCE) all.push(items.slice(at, at + MOST_AT_ONCE))
  return all
}
