// Runs a scenario for a fixed set of seeds, says the figures and which seeds gave them, and holds their means to limits.
// SEED=n replays one seed alone.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Figures, means } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'

const ALONE = process.env.SEED

export interface Limits {
  atLeast?: Figures
  atMost?: Figures
  /** The same for every single run, not the mean. */
  eachAtMost?: Figures
}

export function golden(
  t: TestContext,
  seeds: number[],
  limits: Limits,
  run: (options: RunOptions) => Outcome,
): Figures {
  const played = ALONE === undefined ? seeds : [Number(ALONE)]
  const outcomes = played.map(seed => run({ seed }))
  const figures = means(outcomes.map(outcome => outcome.figures))
  t.diagnostic(`seeds ${played.join(',')}: ${shown(figures)}`)
  const faults = outcomes.flatMap((outcome, i) => [
    ...outcome.broken.map(fault => `seed ${played[i]}: ${fault}`),
    ...beyond(`seed ${played[i]}: `, outcome.figures, { atMost: { bound: 1, ...limits.eachAtMost } }),
  ])
  assert.deepEqual([...faults, ...beyond('', figures, limits)], [])
  return figures
}

export function seedsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}

function beyond(where: string, figures: Figures, { atLeast = {}, atMost = {} }: Limits): string[] {
  const value = (name: string) => figures[name] ?? Number.NaN
  return [
    ...Object.entries(atLeast)
      .filter(([name, limit]) => !(value(name) >= limit))
      .map(([name, limit]) => `${where}${name} is ${value(name)}, less than ${limit}`),
    ...Object.entries(atMost)
      .filter(([name, limit]) => !(value(name) <= limit))
      .map(([name, limit]) => `${where}${name} is ${value(name)}, more than ${limit}`),
  ]
}

function shown(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(3))}`)
    .join(', ')
}
