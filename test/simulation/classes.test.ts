// What priority is worth: high's waits while normal and low fill the pools, and that low is never forgotten.
import { test } from 'node:test'
import { type ClassSetUp, runClasses } from './classes.ts'
import { SET_UPS } from './fairness.ts'
import { golden, seedsFrom } from './golden.ts'

const SEEDS = seedsFrom(1, 3)

const GOLDEN: Record<string, ClassSetUp & { highP99Ms: number; seeds: number[] }> = {
  one: { quotas: SET_UPS.one.quotas, binding: 'tokens', highP99Ms: 200, seeds: SEEDS },
  two: { quotas: SET_UPS.two.quotas, binding: 'tokens', highP99Ms: 50, seeds: SEEDS },
  unequal: { quotas: SET_UPS.unequal.quotas, binding: 'tokens', highP99Ms: 200, seeds: SEEDS },
  'requests bind': { quotas: SET_UPS.two.quotas, binding: 'requests', highP99Ms: 50, seeds: SEEDS.slice(0, 2) },
}

for (const [name, { highP99Ms, seeds, ...setUp }] of Object.entries(GOLDEN)) {
  test(`${name}: high finds water at once outside its own overload, and low is not forgotten`, t => {
    const limits = { atMost: { 'high p99 ms': highP99Ms, 'low gap s': 210 }, atLeast: { use: 0.97 } }
    golden(t, seeds, limits, options => runClasses(setUp, options))
  })
}
