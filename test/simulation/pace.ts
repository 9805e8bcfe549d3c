// The laws side by side against quotas they cannot see: what part of the hidden quota is used, how many of a thousand sends are
// throttled, and how often a dimension was cut that did not bind. The set-ups are those behind the table in ALGORITHMS.md §4.
import { PACES, type PaceMode } from '../../src/domain/model.ts'
import { pacedPerMinute, startPace, stepPace } from '../../src/domain/pace.ts'
import type { Dimension } from '../../src/domain/pool.ts'
import { STEP_MS } from '../../src/domain/poolReport.ts'
import { type SteeringSettings, steer } from '../../src/domain/steering.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { AIMD, BREAKER } from '../support/pushback.ts'
import { AwsCubic } from './awsCubic.ts'
import { type Figures, means } from './figures.ts'
import type { Window } from './hiddenQuota.ts'
import { WINDOWS } from './hiddenQuota.ts'
import { bindingOf, type Quota } from './mixes.ts'
import { type Passed, Pushback, type SetUp, type Steerer } from './pushback.ts'

export const LAWS = [...PACES, 'aws-sdk'] as const
export type LawName = (typeof LAWS)[number]

const RIGHT = { requestsPerMinute: 600, tokensPerMinute: 600_000 }
const THIRD = { requestsPerMinute: 200, tokensPerMinute: 200_000 }
const TREBLE = { requestsPerMinute: 1_800, tokensPerMinute: 1_800_000 }
const KNOWN = { hidden: RIGHT, configured: RIGHT, durationS: 1_800, warmUpS: 60 }
/** From the first moment: to find out is part of the task. */
const UNKNOWN = { configured: RIGHT, durationS: 1_800, warmUpS: 0 }

export const PACE_SCENARIOS = {
  'requests bind': { ...KNOWN, mix: 'small' },
  'tokens bind': { ...KNOWN, mix: 'large' },
  'mix switches': {
    ...KNOWN,
    mix: 'small',
    durationS: 2_700,
    mixes: [
      { atS: 900, mix: 'large' },
      { atS: 1_800, mix: 'small' },
    ],
  },
  'a third, requests bind': { ...UNKNOWN, hidden: THIRD, mix: 'small' },
  'a third, tokens bind': { ...UNKNOWN, hidden: THIRD, mix: 'large' },
  'three times, requests bind': { ...UNKNOWN, hidden: TREBLE, mix: 'small' },
  'three times, tokens bind': { ...UNKNOWN, hidden: TREBLE, mix: 'large' },
} as const satisfies Record<string, Omit<SetUp, 'window'>>
export type PaceScenario = keyof typeof PACE_SCENARIOS

export function runPace(scenario: PaceScenario, law: LawName, window: Window, seed: number, unclear = 0): Figures {
  const setUp: SetUp = { ...PACE_SCENARIOS[scenario], window, unclear }
  const isAws = law === 'aws-sdk'
  const configured = isAws ? { requestsPerMinute: setUp.configured.requestsPerMinute } : setUp.configured
  const steerer = isAws ? awsSdk(RIGHT.requestsPerMinute) : steered(law, configured, seed)
  return measured(setUp, new Pushback({ ...setUp, configured }, steerer, seed).run())
}

/** Through steer(), as the control loop does it. */
export function steered(pace: PaceMode, configured: SetUp['configured'], seed: number): Steerer & { state: string } {
  const settings: SteeringSettings = { pace, aimd: AIMD, breaker: BREAKER, pools: [{ name: 'pool', ...configured }] }
  const dice = seededDice(seed, 1)
  return {
    state: '',
    step(report, nowMs) {
      const { steering, events } = steer(this.state, [report], settings, nowMs, dice)
      this.state = steering.state
      const cuts = events.flatMap(event => (event.kind === 'cut' ? [event.dimension] : []))
      return { ...steering.pools[0], cuts }
    },
  }
}

/** The laws alone: no breaker beside them. */
function bare(quota: Quota): Steerer {
  let requests = startPace(quota.requestsPerMinute)
  let tokens = startPace(quota.tokensPerMinute)
  return {
    step({ counts, limited }, nowMs) {
      const news = { accepted: counts.accepted, elapsedMs: STEP_MS, nowMs }
      const ofRequests = { amount: counts.accepted, throttled: counts.throttledRequests, limited: limited.requests }
      const ofTokens = { amount: counts.tokens, throttled: counts.throttledTokens, limited: limited.tokens }
      requests = stepPace(requests, { ...news, ...ofRequests })
      tokens = stepPace(tokens, { ...news, ...ofTokens })
      const believed = { requestsPerMinute: pacedPerMinute(requests), tokensPerMinute: pacedPerMinute(tokens) }
      return { believed, cuts: [] }
    },
  }
}

function awsSdk(quotaPerMinute: number): Steerer {
  const law = new AwsCubic(quotaPerMinute)
  let lastMs = 0
  return {
    step({ counts }, nowMs) {
      const before = law.cuts
      const throttled = counts.throttledRequests + counts.throttledTokens + counts.throttledUnclear
      law.step(counts.accepted, throttled, (nowMs - lastMs) / 1000, nowMs / 1000)
      lastMs = nowMs
      const cuts = new Array<Dimension>(law.cuts - before).fill('requests')
      return { believed: { requestsPerMinute: law.ratePerS * 60 }, cuts }
    },
  }
}

const FOUND_PART = 0.9
const FOUND_OVER_S = 15

/** `found s`: when 15 seconds first used nine tenths of what the hidden quota allows; the run's length if they never did. */
function measured(setUp: SetUp, { sends, throttled, falseCuts, accepted }: Passed): Figures {
  const { hidden, warmUpS, durationS, mix, mixes = [] } = setUp
  const perS = { requests: hidden.requestsPerMinute / 60, tokens: hidden.tokensPerMinute / 60 }
  const usedS = new Float64Array(durationS)
  for (const call of accepted) {
    const binding = bindingOf(mixes.findLast(({ atS }) => atS <= call.atS)?.mix ?? mix, hidden)
    if (call.atS < durationS) usedS[Math.floor(call.atS)]! += call[binding] / perS[binding]
  }
  const over = (fromS: number, toS: number) => usedS.subarray(fromS, toS).reduce((sum, used) => sum + used, 0)
  let foundS = 0
  while (foundS < durationS && over(foundS, foundS + FOUND_OVER_S) < FOUND_PART * FOUND_OVER_S) foundS += 1
  return {
    use: over(warmUpS, durationS) / (durationS - warmUpS),
    'throttles per 1000': (1000 * throttled) / Math.max(1, sends),
    'false cuts': falseCuts,
    'found s': foundS,
  }
}

/** Use / throttles per 1000 / false cuts, a row a scenario and law, a column an upstream window. */
export function paceTable(seeds: number[]): string {
  const rows = (Object.keys(PACE_SCENARIOS) as PaceScenario[]).flatMap(scenario =>
    LAWS.map(law => [scenario, law, ...WINDOWS.map(window => cell(scenario, law, window, seeds))]),
  )
  return drawn(['', 'law', ...WINDOWS], rows)
}

export function outageTable(seeds: number[]): string {
  const rows = (['throttles', 'failures'] as const).flatMap(by =>
    [false, true].map(hasBreaker => {
      const figures = means(seeds.map(seed => runOutage(by, hasBreaker, seed)))
      return [
        `${by}, ${hasBreaker ? 'breaker' : 'no breaker'}`,
        ...Object.values(figures).map(value => value.toFixed(2)),
      ]
    }),
  )
  return drawn(['', 'wasted', 'back after s', 'use 0-60 s after', 'use 60-300 s after'], rows)
}

function drawn(header: string[], rows: string[][]): string {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map(row => row[column]!.length)))
  const line = (row: string[]) => `| ${row.map((text, i) => text.padEnd(widths[i]!)).join(' | ')} |`
  return [line(header), `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n')
}

function cell(scenario: PaceScenario, law: LawName, window: Window, seeds: number[]): string {
  const figures = means(seeds.map(seed => runPace(scenario, law, window, seed)))
  const { use, 'throttles per 1000': throttles, 'false cuts': falseCuts, 'found s': foundS } = figures
  const found = scenario.startsWith('three') ? `, ${foundS! < 1_800 ? `${foundS!.toFixed(0)} s` : 'not found'}` : ''
  return `${use!.toFixed(2)} / ${throttles!.toFixed(1)} / ${falseCuts!.toFixed(0)}${found}`
}

/** A pool that refuses everything for five minutes under full load, with the breaker and without. */
export function runOutage(by: 'throttles' | 'failures', hasBreaker: boolean, seed: number): Figures {
  const outage = { fromS: 600, forS: 300, by }
  const setUp: SetUp = {
    ...KNOWN,
    window: '60 s bucket',
    mix: 'small',
    outage,
    ...(hasBreaker && { failuresToShut: BREAKER.failures }),
  }
  const passed = new Pushback(setUp, hasBreaker ? steered('adaptive', RIGHT, seed) : bare(RIGHT), seed).run()
  const endS = outage.fromS + outage.forS
  const back = passed.accepted.find(({ atS }) => atS >= endS)?.atS ?? setUp.durationS
  const within = (fromS: number, toS: number) =>
    passed.accepted.filter(({ atS }) => atS >= fromS && atS < toS).length / ((toS - fromS) * 10)
  return {
    wasted: passed.wasted,
    'back after s': back - endS,
    'use 0-60 s after': within(endS, endS + 60),
    'use 60-300 s after': within(endS + 60, endS + 300),
  }
}
