// A system that is not full: large requests go soon, and the small ones beside them hardly notice. One that is idle and overrun by
// turns, and real arrivals.
import { test } from 'node:test'
import { runBursts, runCalm } from './calm.ts'
import { SET_UPS } from './fairness.ts'
import { golden, seedsFrom } from './golden.ts'
import { hasTrace, runTrace, traceMissing } from './trace.ts'

const SEEDS = seedsFrom(1, 4)

/** With some room over what the prototype measured (reference/multipool-results.txt, "not saturated"). */
const GOLDEN = [
  { name: 'one', load: 0.3, atMost: { 'large p50 s': 1, 'large p99 s': 20, 'small p50 s': 0.01, 'small p99 s': 9 } },
  { name: 'two', load: 0.3, atMost: { 'large p50 s': 1, 'large p99 s': 20, 'small p50 s': 0.01, 'small p99 s': 2 } },
  {
    name: 'unequal',
    load: 0.3,
    atMost: { 'large p50 s': 1, 'large p99 s': 20, 'small p50 s': 0.01, 'small p99 s': 9 },
  },
  { name: 'one', load: 0.6, atMost: { 'large p50 s': 3, 'large p99 s': 50, 'small p50 s': 0.01, 'small p99 s': 12 } },
  { name: 'two', load: 0.6, atMost: { 'large p50 s': 3, 'large p99 s': 50, 'small p50 s': 0.01, 'small p99 s': 5 } },
  {
    name: 'unequal',
    load: 0.6,
    atMost: { 'large p50 s': 3, 'large p99 s': 60, 'small p50 s': 0.01, 'small p99 s': 14 },
  },
] as const

for (const { name, load, atMost } of GOLDEN) {
  test(`${name} at load ${load}: the large go soon and the small hardly wait`, t => {
    golden(t, SEEDS, { atMost }, options => runCalm(SET_UPS[name].quotas, load, options))
  })
}

for (const name of ['one', 'two'] as const) {
  test(`${name}, idle and overrun by turns: a minute that begins with full buckets keeps to the quota`, t => {
    const limits = { atLeast: { 'use while busy': 0.97 }, eachAtMost: { minute: 1 } }
    golden(t, SEEDS.slice(0, 1), limits, options => runBursts(SET_UPS[name].quotas, options))
  })
}

test('real arrivals at the whole of the quota', { skip: hasTrace() ? false : traceMissing() }, t => {
  const limits = { atLeast: { use: 0.9 }, atMost: { 'modest p99 s': 5, 'modest refused %': 0 } }
  golden(t, SEEDS.slice(0, 1), limits, options => runTrace(1, options))
})
