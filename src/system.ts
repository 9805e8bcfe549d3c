// The only place in the program that reads the clock, sets a timer or draws a random id.
import { randomUUID } from 'node:crypto'
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

export const newId = (): string => randomUUID()

export const systemDice: Dice = () => Math.random()

/** Runs the task at the end of this turn of the event loop. */
export const soon = (task: () => void): void => void setImmediate(task)
