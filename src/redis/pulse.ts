// When a gateway looks into a room in Redis: at most once at a time, when a hint or its one timer says so, however many wait.
import type { Clock, Dice } from '../domain/clock.ts'

export interface PulseParts {
  clock: Clock
  dice: Dice
  /** Asks Redis; resolves when it has answered, or failed to. */
  tick: () => Promise<unknown>
  /** Whether there is still somebody to ask. */
  isOpen: () => boolean
}

/** Gateways that wait for the same moment do not all ask at once. */
const JITTER_MS = 5

export class Pulse {
  readonly #parts: PulseParts
  #isTicking = false
  #isHinted = false
  #cancel: () => void = () => {}

  constructor(parts: PulseParts) {
    this.#parts = parts
  }

  async beat(): Promise<void> {
    if (this.#isTicking) {
      this.#isHinted = true // The answer on its way may be older.
      return
    }
    this.#isTicking = true
    this.#isHinted = false
    await this.#parts.tick()
    this.#isTicking = false
    if (this.#isHinted && this.#parts.isOpen()) void this.beat()
  }

  /** The next beat, instead of the one that was set. */
  set(delayMs: number): void {
    this.stop()
    const { clock, dice } = this.#parts
    this.#cancel = clock.after(delayMs + 1 + dice() * JITTER_MS, () => void this.beat())
  }

  stop(): void {
    this.#cancel()
  }
}
