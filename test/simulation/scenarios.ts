// Every scenario by the name it has on the command line.
import { runBursts, runCalm } from './calm.ts'
import { runClasses } from './classes.ts'
import { type FairOptions, runFairness, SET_UPS } from './fairness.ts'
import { runQuietThrottles, runThrottled, runTrouble, TROUBLES, type TroubleName } from './faults.ts'
import type { Outcome, RunOptions } from './outcome.ts'
import { outageTable, paceTable } from './pace.ts'
import { hasTrace, runTrace, traceMissing } from './trace.ts'
import { runFreshNeighbour, runTwoLevels, SCENES } from './twoLevels.ts'

export interface Scenario {
  name: string
  about: string
  run: (options: ScenarioOptions) => Outcome
  /** Why it cannot run here. */
  obstacle?: () => string | undefined
}

export interface ScenarioOptions extends RunOptions {
  /** Of the trace: the part of the quota it asks for. */
  load: number
}

const { one, two, unequal } = SET_UPS
const RPM_BOUND = [
  { requestsPerMinute: 300, tokensPerMinute: 300_000 },
  { requestsPerMinute: 300, tokensPerMinute: 300_000 },
]

function fair(name: keyof typeof SET_UPS, suffix: string, about: string, mix: Omit<FairOptions, 'seed'>): Scenario {
  return { name: `${name}${suffix}`, about, run: options => runFairness(SET_UPS[name], { ...mix, ...options }) }
}

function crowds(name: keyof typeof SET_UPS, pools: string): Scenario[] {
  return [
    fair(name, '', `26 flows, three of them large, over ${pools}`, {}),
    fair(name, '-one-large', `26 flows, one of them large, over ${pools}`, { largeUsers: 1 }),
    fair(name, '-small', `25 flows, none of them large, over ${pools}`, { largeUsers: 0 }),
    fair(name, '-one-client', `26 users of one client, three of them large, over ${pools}`, { isOneClient: true }),
  ]
}

export const SCENARIOS: Scenario[] = [
  ...crowds('one', 'one pool of 320 k TPM'),
  ...crowds('two', 'two equal pools of 300 RPM and 300 k TPM'),
  ...crowds('unequal', 'pools of 200, 100 and 20 RPM and k TPM'),
  ...crowds('unlike', 'pools of 600 RPM / 200 k TPM and 100 RPM / 400 k TPM'),
  ...crowds('shutting', 'two equal pools of which one is shut every other minute'),
  ...[
    { name: 'one', quotas: one.quotas, binding: 'tokens' as const },
    { name: 'two', quotas: two.quotas, binding: 'tokens' as const },
    { name: 'unequal', quotas: unequal.quotas, binding: 'tokens' as const },
    { name: 'requests', quotas: RPM_BOUND, binding: 'requests' as const },
  ].map(({ name, ...setUp }) => ({
    name: `classes-${name}`,
    about: `high in waves and overload, normal, backlogged low; ${setUp.binding} bind`,
    run: (options: ScenarioOptions) => runClasses(setUp, options),
  })),
  ...SCENES.map(scene => ({
    name: `clients-${scene.replace(' ', '-')}`,
    about: `clients A : B : C = 1 : 1 : 2; B with ${scene}`,
    run: (options: ScenarioOptions) => runTwoLevels(scene, options),
  })),
  {
    name: 'users-fresh-neighbour',
    about: 'one client: a known user against one with a new name for every request',
    run: runFreshNeighbour,
  },
  ...[0.3, 0.6].flatMap(load =>
    [
      ['one', one],
      ['two', two],
      ['unequal', unequal],
    ].map(([name, setUp]) => ({
      name: `calm-${name}-${load}`,
      about: `not full: load ${load}, a fifth of it large requests`,
      run: (options: ScenarioOptions) => runCalm((setUp as typeof one).quotas, load, options),
    })),
  ),
  ...(['one', 'two'] as const).map(name => ({
    name: `bursts-${name}`,
    about: 'small requests; idle for 90 s, three times overrun for 75 s, by turns',
    run: (options: ScenarioOptions) => runBursts(SET_UPS[name].quotas, options),
  })),
  ...(Object.keys(TROUBLES) as TroubleName[]).map(trouble => ({
    name: `fault-${trouble.replaceAll(' ', '-')}`,
    about: `26 flows over two equal pools; ${trouble}`,
    run: (options: ScenarioOptions) => runTrouble(trouble, options),
  })),
  ...[0.3, 0].map(share => ({
    name: `throttled-${share}`,
    about: `26 flows over two equal pools; one upstream gives ${100 * share} % of its quota from 300 to 900 s`,
    run: (options: ScenarioOptions) => runThrottled(share, options),
  })),
  {
    name: 'throttled-late',
    about: 'twenty quiet gateways; three of ten sends are throttled, twelve seconds later',
    run: runQuietThrottles,
  },
  {
    name: 'trace',
    about: 'an hour of real arrivals (../shared/data), scaled to --load of the quota',
    run: ({ load, ...options }) => runTrace(load, options),
    obstacle: () => (hasTrace() ? undefined : traceMissing()),
  },
]

/** Those that are compared side by side rather than seed by seed. */
export const TABLES: { name: string; about: string; table: (seeds: number[]) => string }[] = [
  {
    name: 'pace',
    about: 'each law against hidden quotas: use / throttles per 1000 / cuts of the dimension that does not bind',
    table: paceTable,
  },
  {
    name: 'outage',
    about: 'five minutes of refusals under full load, with the breaker and without',
    table: outageTable,
  },
]

export function scenarioNamed(name: string): Scenario | undefined {
  return SCENARIOS.find(scenario => scenario.name === name)
}
