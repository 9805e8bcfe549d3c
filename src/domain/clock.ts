/** Time and chance, passed in. The real ones live in system.ts; tests and simulations bring their own. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May step either way; durations taken from it are clamped at 0 by whoever needs that. */
  nowMs(): number
  /** Calls `task` once, `delayMs` from now. The returned function cancels it; cancelling twice, or after it ran, does nothing. */
  after(delayMs: number, task: () => void): () => void
}

/** Uniform in [0, 1). */
export type Dice = () => number
