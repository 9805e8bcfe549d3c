// The adaptive law holds the table of ALGORITHMS.md §4: use no more than 0.03 below it, throttles no more than a fifth above, and
// no cut of the dimension that does not bind. npm run simulate -- pace prints all laws beside each other.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Figures, means } from './figures.ts'
import { seedsFrom } from './golden.ts'
import { WINDOWS } from './hiddenQuota.ts'
import { type LawName, type PaceScenario, runOutage, runPace } from './pace.ts'

const ALONE = process.env.SEED
/** Three, but where a mean of three is not worth comparing, or one is as good as all. */
const SEEDS_OF: Partial<Record<PaceScenario, number>> = {
  'mix switches': 6,
  'three times, requests bind': 2,
  'three times, tokens bind': 2,
}
const seedsOf = (scenario: PaceScenario) =>
  ALONE === undefined ? seedsFrom(1, SEEDS_OF[scenario] ?? 3) : [Number(ALONE)]
const SEEDS = seedsOf('requests bind')
const USE_SLACK = 0.03
const THROTTLES_SLACK = 1.2

type Cell = [use: number, throttles: number]

/**
 * By window, in the order of WINDOWS; the prototype's means over 24 seeds where those of the table, over three, were
 * lucky: tokens under the sliding (3.3) and the fixed window (3.6).
 */
const TABLE: Partial<Record<PaceScenario, Cell[]>> = {
  'requests bind': [
    [1.03, 1.5],
    [0.98, 0.7],
    [0.95, 0.7],
    [0.96, 5.7],
  ],
  'tokens bind': [
    [1.02, 4.2],
    [0.92, 3.1],
    [0.85, 3.6],
    [0.93, 5.1],
  ],
  'a third, requests bind': [
    [1.03, 5.3],
    [0.99, 5.3],
    [0.94, 18],
    [0.97, 21],
  ],
}

/** Of the further rows a deep bucket and the hardest window are enough here; the command runs them all. */
const FURTHER_WINDOWS: ReadonlySet<string> = new Set(['60 s bucket', 'sliding'])

/** The prototype's further rows (reference/pace-results.txt); those that vary much from seed to seed over six of them. */
const FURTHER: Partial<Record<PaceScenario, Cell[]>> = {
  'mix switches': [
    [1.05, 1.81],
    [0.96, 0.8],
    [0.9, 1.69],
    [0.94, 5.9],
  ],
  'a third, tokens bind': [
    [1.01, 18],
    [0.9, 26.3],
    [0.71, 81],
    [0.85, 69],
  ],
  'three times, requests bind': [
    [0.83, 3.7],
    [0.77, 0.8],
    [0.76, 0.7],
    [0.79, 3.3],
  ],
  'three times, tokens bind': [
    [0.78, 5.8],
    [0.75, 2.1],
    [0.68, 5.5],
    [0.7, 17.2],
  ],
}

for (const [scenario, cells] of Object.entries({ ...TABLE, ...FURTHER }) as [PaceScenario, Cell[]][]) {
  test(`adaptive, ${scenario}: as much use, as few throttles as the prototype, and no false cut`, t => {
    const faults = WINDOWS.flatMap((window, i) => {
      if (scenario in FURTHER && !FURTHER_WINDOWS.has(window)) return []
      const { use, throttles, falseCuts } = held(t, scenario, 'adaptive', i)
      const [leastUse, mostThrottles] = [cells[i]![0] - USE_SLACK, cells[i]![1] * THROTTLES_SLACK]
      return [
        ...(use >= leastUse ? [] : [`${window}: use ${use}, less than ${leastUse}`]),
        ...(throttles <= mostThrottles
          ? []
          : [`${window}: ${throttles} throttles per 1000, more than ${mostThrottles}`]),
        ...(falseCuts === 0 ? [] : [`${window}: ${falseCuts} cuts of a dimension that does not bind`]),
      ]
    })
    assert.deepEqual(faults, [])
  })
}

test('a third of the configured quota: at most 20 throttles per 1000 under every window', t => {
  const most = WINDOWS.map((_, i) => held(t, 'a third, requests bind', 'adaptive', i).throttles)
  assert.ok(Math.max(...most) <= 20, most.join(', '))
})

test("a quota that is unknown: what the textbook, a config that is trusted and the SDK's own limit make of it", t => {
  for (const window of [2, 3]) {
    const of = (law: LawName) => held(t, 'a third, requests bind', law, window)
    const adaptive = of('adaptive')
    assert.ok(of('aimd').use < adaptive.use - 0.05)
    for (const law of ['off', 'aws-sdk'] as const) assert.ok(of(law).throttles > 5 * adaptive.throttles)
  }
})

test('throttles that name no dimension are given to the emptier bucket, and cut no other', t => {
  for (const scenario of ['requests bind', 'tokens bind', 'mix switches'] as const) {
    const figures = SEEDS.map(seed => runPace(scenario, 'adaptive', '60 s bucket', seed, 1))
    t.diagnostic(`${scenario}, seeds ${SEEDS.join(',')}: ${figures.map(one => one['false cuts']).join(',')} false cuts`)
    assert.ok(figures.every(one => one['throttles per 1000']! > 0))
    assert.ok(means(figures)['false cuts']! === 0)
  }
})

test('five minutes of throttles alone: the breaker spares a quarter of the calls, and costs none of the use after', t => {
  const without = outage(t, 'throttles', false)
  const withIt = outage(t, 'throttles', true)
  assert.ok(withIt.wasted! <= 0.75 * without.wasted!, `${withIt.wasted} of ${without.wasted}`)
  assert.ok(withIt['use 0-60 s after']! >= 0.7, `${withIt['use 0-60 s after']}`)
  assert.ok(withIt['use 60-300 s after']! >= 1)
})

test('five minutes of failures: the breaker wastes five calls, what is on its way meanwhile, and the probes', t => {
  const without = outage(t, 'failures', false)
  const withIt = outage(t, 'failures', true)
  // Ten a second are sent; failures are heard of after 0.05 to 0.3 s, reported every 0.25 s; nine probes fit into the time.
  assert.ok(withIt.wasted! <= 5 + 6 + 9, `${withIt.wasted}`)
  assert.ok(without.wasted! > 100 * withIt.wasted!)
  assert.ok(withIt['back after s']! <= 60)
})

const runs = new Map<string, Figures>()

function held(t: TestContext, scenario: PaceScenario, law: LawName, window: number) {
  const name = `${scenario}, ${law}, ${WINDOWS[window]}`
  const figures = runs.get(name) ?? means(seedsOf(scenario).map(seed => runPace(scenario, law, WINDOWS[window]!, seed)))
  runs.set(name, figures)
  const { use, 'throttles per 1000': throttles, 'false cuts': falseCuts } = figures
  t.diagnostic(
    `seeds ${seedsOf(scenario).join(',')}, ${name}: ${use!.toFixed(3)} / ${throttles!.toFixed(2)} / ${falseCuts}`,
  )
  return { use: use!, throttles: throttles!, falseCuts: falseCuts! }
}

function outage(t: TestContext, by: 'throttles' | 'failures', hasBreaker: boolean): Figures {
  const figures = means(SEEDS.map(seed => runOutage(by, hasBreaker, seed)))
  t.diagnostic(`seeds ${SEEDS.join(',')}, ${hasBreaker ? 'breaker' : 'no breaker'}: ${JSON.stringify(figures)}`)
  return figures
}
