// The only place in the program that reads the clock, sets a timer or draws a random id.
import { randomBytes, randomUUID } from 'node:crypto'
import type { Clock, Dice } from './domain/clock.ts'

/** setTimeout fires at once for delays past 2^31 − 1 ms; a delay that long is cut to it (24.8 days). */
const LONGEST_DELAY_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, Math.min(Math.max(delayMs, 0), LONGEST_DELAY_MS))
    return () => clearTimeout(timer)
  },
}

/** How often the event loop is looked at. */
const LOOK_MS = 50

/**
 * Tells again and again how much later than asked for a timer came. By a clock that nobody sets, and no reason for the
 * process to live. The returned function ends it.
 */
export function watchLoop(sample: (everyMs: number, lateMs: number) => void): () => void {
  let dueMs = performance.now() + LOOK_MS
  const timer = setInterval(() => {
    const nowMs = performance.now()
    sample(LOOK_MS, Math.max(0, nowMs - dueMs))
    dueMs = nowMs + LOOK_MS
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}

export const newId = (): string => randomUUID()

/** Fit for secrets. */
export const secretBytes = (bytes: number): Buffer => randomBytes(bytes)

export const systemDice: Dice = () => Math.random()

/** Runs the task at the end of this turn of the event loop. */
export const soon = (task: () => void): void => void setImmediate(task)
