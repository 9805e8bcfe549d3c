// Shares, use and waits of 26 flows over five sets of pools, held to what a fluid server would do and to the waits that
// ALGORITHMS.md section 3 has measured.
import { test } from 'node:test'
import { runFairness, SET_UPS } from './fairness.ts'
import { golden, type Limits, seedsFrom } from './golden.ts'

/** So many, because a p99 of light waits differs by a quarter between seeds: the mean of twelve by some 6 %. */
const SEEDS = seedsFrom(1, 12)
/** Twice what one server allows: there are several here, and charges differ from reservations. */
const MOST_SERVICE_GAP = 2
/** What a message takes to reach the ledger and the turn to come back: no wait is shorter. */
const TRIPS_S = 0.01
const SLACK = 1.2

interface Golden {
  leastUse: number
  /** Of section 3's table, in the column of the purse. */
  tableS: { p50: number; p99: number }
}

const GOLDEN: Record<keyof typeof SET_UPS, Golden> = {
  one: { leastUse: 0.97, tableS: { p50: 0.12, p99: 7.5 } },
  two: { leastUse: 0.97, tableS: { p50: 0, p99: 4.6 } },
  unequal: { leastUse: 0.97, tableS: { p50: 0, p99: 7.8 } },
  unlike: { leastUse: 0.9, tableS: { p50: 0.1, p99: 4.3 } },
  shutting: { leastUse: 0.97, tableS: { p50: 0.09, p99: 11.5 } },
}

function limitsOf({ leastUse, tableS }: Golden): Limits {
  return {
    atLeast: { use: leastUse, jain: 0.99, large: 0.85, worst: 0.8 },
    atMost: {
      'light p50': SLACK * tableS.p50 + TRIPS_S,
      'light p99': SLACK * tableS.p99 + TRIPS_S,
      'service gap': MOST_SERVICE_GAP,
    },
  }
}

for (const name of Object.keys(GOLDEN) as (keyof typeof SET_UPS)[]) {
  test(`${name}: each has its share, the quota is used, the light wait little and the large are served`, t => {
    golden(t, SEEDS, limitsOf(GOLDEN[name]), options => runFairness(SET_UPS[name], options))
  })
}

/** Users have no weights and no such table: their waits are only told. */
for (const name of ['one', 'two', 'unequal'] as const) {
  test(`${name}, all users of one client: each has its share and the quota is used`, t => {
    const limits = { atLeast: { use: 0.97, jain: 0.99, large: 0.85 } }
    golden(t, SEEDS.slice(0, 2), limits, options => runFairness(SET_UPS[name], { ...options, isOneClient: true }))
  })
}

for (const name of ['one', 'two'] as const) {
  test(`${name}, small requests only: net of settlements no minute takes more than the quota`, t => {
    const limits = { atLeast: { use: 0.97, jain: 0.99 }, eachAtMost: { minute: 1 } }
    golden(t, SEEDS.slice(0, 2), limits, options => runFairness(SET_UPS[name], { ...options, largeUsers: 0 }))
  })
}
