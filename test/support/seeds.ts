// Properties run from a seed that is printed and can be given back: SEED=… npm test. RUNS=20 looks twenty times as far.
import type { TestContext } from 'node:test'

const SEED = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const TIMES = Number(process.env.RUNS ?? 1)

/** Settings for fc.assert; the seed stands in the test's output, failed or not. */
export function seeded(t: TestContext, numRuns: number): { seed: number; numRuns: number } {
  const seed = SEED ?? Math.floor(Math.random() * 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  return { seed, numRuns: numRuns * TIMES }
}
