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

/** Known faults of the engine, to be struck out as they are cured. */
const UNCURED: Partial<Record<TroubleName, string>> = {
  'clock 30 s ahead': 'at the step every other gateway seems silent: WaitingRoom.tick sweeps all their waiters',
}
const UNHEARD =
  'WaitingRoom.requeue does not count as hearing from the gateway: the next tick of another sweeps the ticket'

for (const name of Object.keys(TROUBLES) as TroubleName[]) {
  test(`trouble: ${name}`, { todo: UNCURED[name] ?? false }, t => {
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

test('a ticket that comes back to a gateway long silent still gets its turn', { todo: UNHEARD }, t => {
  golden(t, SEEDS, { atMost: { forgotten: 0 } }, runQuietThrottles)
})
