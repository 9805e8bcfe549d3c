// Files that are watched by reading them again: whatever an editor or Kubernetes does to them (write in place, rename over,
// swap a symlink), what counts is what stands in them. No event is missed, because none is needed. It ends with the process.
import type { Clock } from '../domain/clock.ts'

export interface ConfigWatchParts {
  clock: Clock
  /** A file's text; rejects when it cannot be read. */
  read: (path: string) => Promise<string>
  /** Something else stands there, and has for a second. Tells what it read. */
  reload: () => ReadonlyMap<string, string | undefined>
}

const LOOK_EVERY_MS = 1_000

export class ConfigWatch {
  readonly #parts: ConfigWatchParts
  /** What the last load read. */
  #loaded: ReadonlyMap<string, string | undefined>
  /** What the last look saw, where that is something else. */
  #changed: string | undefined

  constructor(parts: ConfigWatchParts, loaded: ReadonlyMap<string, string | undefined>) {
    this.#parts = parts
    this.#loaded = loaded
    this.#lookLater()
  }

  /** Loads now, whatever stands there. */
  reload(): void {
    this.#changed = undefined
    this.#loaded = this.#parts.reload()
  }

  #lookLater(): void {
    this.#parts.clock.after(LOOK_EVERY_MS, () => void this.#look())
  }

  /** A file that is being written may be whole YAML at every length: it is taken once two looks have seen the same. */
  async #look(): Promise<void> {
    const before = this.#loaded
    const texts = await Promise.all([...before.keys()].map(path => this.#parts.read(path).catch(() => undefined)))
    // Unless somebody has loaded meanwhile.
    if (before === this.#loaded) {
      const seen = JSON.stringify(texts)
      const isOther = seen !== JSON.stringify([...before.values()])
      if (isOther && seen === this.#changed) this.reload()
      else this.#changed = isOther ? seen : undefined
    }
    this.#lookLater()
  }
}
