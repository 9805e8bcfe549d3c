// Whatever goes wrong, and whenever: every request ends, each turn is ended once, nothing leaks, nobody is told nonsense.
// SEED=n replays one schedule alone, SEEDS=n runs more of them, or fewer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Figures, runSchedule } from './faultSchedule.ts'
import { seedsFrom } from './golden.ts'

const ALONE = process.env.SEED
const SEEDS = ALONE === undefined ? seedsFrom(1, Number(process.env.SEEDS ?? 200)) : [Number(ALONE)]
const MOST_SHOWN = 20

test(`${SEEDS.length} random schedules of faults over the whole gateway`, async t => {
  const totals = new Map<string, number>()
  const faults: string[] = []
  for (const seed of SEEDS) {
    if (faults.length >= MOST_SHOWN) break
    const run = await runSchedule(seed)
    faults.push(...run.faults.map(fault => `seed ${seed}: ${fault}`))
    for (const [name, value] of Object.entries(run.figures)) totals.set(name, (totals.get(name) ?? 0) + value)
  }
  t.diagnostic([...totals].map(([name, value]) => `${name} ${value}`).join(', '))
  assert.deepEqual(faults.slice(0, MOST_SHOWN), [])
  // A schedule in which nothing happens would hold everything.
  if (ALONE === undefined)
    for (const name of EACH_HAPPENS) assert.ok(totals.get(name)! >= SEEDS.length, `${name}: ${totals.get(name)}`)
})

const EACH_HAPPENS: (keyof Figures)[] = [
  'answered',
  'refused',
  'cut',
  'left',
  'fallbacks',
  'coalesced',
  'throttles',
  'retries',
  'breaker trips',
]
