// What breaks in a cluster costs moments, and no turn: every call ends, nothing is granted twice, shares hold.
import { test } from 'node:test'
import { runQuietThrottles, runThrottled, runTrouble, TROUBLES, type TroubleName } from './faults.ts'
import { golden, seedsFrom } from './golden.ts'

const SEEDS = seedsFrom(1, 2)
/** Of the undisturbed run: a part of the time is spent on getting over it. */
const LIMITS = {
  atLeast: { use: 0.95, jain: 0.99, large: 0.85, worst: 0.85 },
  atMost: { 'light p99': 8 },
}

for (const name of Object.keys(TROUBLES) as TroubleName[]) {
  test(`trouble: ${name}`, t => {
    golden(t, SEEDS, LIMITS, options => runTrouble(name, options))
  })
}

for (const [share, leastUse] of [
  [0.3, 0.7],
  [0, 0.6],
] as const) {
  test(`an upstream that gives ${100 * share} % of its quota for ten minutes slows all alike`, t => {
    golden(t, SEEDS.slice(0, 1), { atLeast: { use: leastUse, jain: 0.98 } }, options => runThrottled(share, options))
  })
}

test('a ticket that comes back to a gateway long silent still gets its turn', t => {
  golden(t, SEEDS, { atMost: { forgotten: 0 } }, runQuietThrottles)
})
