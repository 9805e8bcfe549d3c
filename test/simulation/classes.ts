// The three classes against each other: high comes in waves of 60 and 5 % of the quota, for three minutes with 120 %; normal
// with 35 %; low always has more. In normal and low a few requests are large. What does each class wait?
import { Cluster, type Quota } from './cluster.ts'
import { type Figures, percentile, sum } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'
import { drawSize, type Kind, meanCostS } from './requests.ts'
import { type Account, type Source, start } from './sources.ts'
import type { Chance } from './virtualTime.ts'

export interface ClassSetUp {
  quotas: Quota[]
  /** Whether tokens bind, or requests: then all requests are tiny. */
  binding: 'tokens' | 'requests'
}

const DURATION_S = 1500
const WARM_UP_S = 120
/** High's own overload, and when its traces have gone. */
const OVERLOAD_S = { from: 600, to: 780, over: 900 }
const WAVE_S = 40
const HIGH_LOAD = { crest: 0.6, trough: 0.05, overload: 1.2 }
const NORMAL_LOAD = 0.35
const LARGE_PART = { normal: 0.005, low: 0.01 }
const USERS = 12
const MAX_WAIT_MS = { high: 30_000, normal: 60_000 }
const LOW_USERS = 3
const LOW_WAITING = 20
const MOST = 10_000

export function runClasses(setUp: ClassSetUp, { seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas: setUp.quotas, gateways })
  const isTokens = setUp.binding === 'tokens'
  const { requestsPerS, tokensPerS } = cluster.supply
  const cost = (kind: Kind) => meanCostS(kind, requestsPerS, tokensPerS)
  const highKind = isTokens ? 'chat' : 'tiny'
  const otherKind = isTokens ? 'mid' : 'tiny'
  const largePart = isTokens ? LARGE_PART : { normal: 0, low: 0 }
  const highPerS = (nowMs: number) => highLoad(nowMs / 1000) / cost(highKind)
  const normalCost = cost(otherKind) * (1 - largePart.normal) + cost('large') * largePart.normal
  const sources = [
    open('high', 0, highPerS, MAX_WAIT_MS.high, mixed(highKind, 0)),
    open('normal', 1, () => NORMAL_LOAD / normalCost, MAX_WAIT_MS.normal, mixed(otherKind, largePart.normal)),
    ...Array.from({ length: LOW_USERS }, (_, i) => backlogged(i, mixed(otherKind, largePart.low))),
  ]
  const accounts = sources.map(source => start(cluster, source))
  const { broken, conservation } = cluster.run(DURATION_S)
  return { figures: { ...measure(accounts), ...conservation }, broken, accounts, durationS: DURATION_S }
}

function highLoad(nowS: number): number {
  if (nowS >= OVERLOAD_S.from && nowS < OVERLOAD_S.to) return HIGH_LOAD.overload
  return nowS % WAVE_S < WAVE_S / 2 ? HIGH_LOAD.crest : HIGH_LOAD.trough
}

function mixed(kind: Kind, largePart: number): Source['draw'] {
  return chance => drawSize(chance.next() < largePart ? 'large' : kind, chance)
}

function open(
  name: string,
  rank: number,
  perS: (nowMs: number) => number,
  maxWaitMs: number,
  draw: Source['draw'],
): Source {
  const user = (chance: Chance) => `${name}-${chance.below(USERS)}`
  return {
    name,
    group: name,
    rank,
    client: name,
    weight: 1,
    user,
    draw,
    maxWaitMs,
    demand: { kind: 'open', perS, most: MOST },
  }
}

function backlogged(index: number, draw: Source['draw']): Source {
  const name = `low-${index}`
  const demand = { kind: 'backlogged' as const, waiting: LOW_WAITING }
  return { name, group: 'low', rank: 2, client: 'low', weight: 1, user: () => name, draw, maxWaitMs: Infinity, demand }
}

function isCalm(atMs: number): boolean {
  const atS = atMs / 1000
  return atS > WARM_UP_S && atS < DURATION_S && (atS < OVERLOAD_S.from || atS >= OVERLOAD_S.over)
}

function isOverload(atMs: number): boolean {
  return atMs / 1000 >= OVERLOAD_S.from && atMs / 1000 < OVERLOAD_S.to
}

/** Seconds; whoever left without a turn waited as long as it could. */
function waits({ served, endings, source }: Account, when: (askedMs: number) => boolean): number[] {
  const left = [...endings.refused, ...endings['timed-out']].filter(when).map(() => source.maxWaitMs / 1000)
  return [...served.filter(one => when(one.askedMs)).map(one => one.waitMs / 1000), ...left]
}

function dropped({ endings, sent }: Account): number {
  return (endings.refused.length + endings['timed-out'].length) / sent
}

function measure(accounts: Account[]): Figures {
  const [high, normal, ...low] = accounts as [Account, Account, ...Account[]]
  const isMeasured = (atMs: number) => atMs > WARM_UP_S * 1000 && atMs <= DURATION_S * 1000
  const calm = waits(high, isCalm)
  const lowTimes = low.flatMap(one => one.served.map(turn => turn.atMs)).filter(isMeasured)
  const usedS = (some: Account[]) =>
    sum(some.flatMap(one => one.served.filter(turn => isMeasured(turn.atMs)).map(turn => turn.costS)))
  return {
    'high p50 ms': 1000 * percentile(calm, 0.5),
    'high p99 ms': 1000 * percentile(calm, 0.99),
    'high p99.9 ms': 1000 * percentile(calm, 0.999),
    'high over 50 ms %': (100 * calm.filter(wait => wait > 0.05).length) / calm.length,
    'high p99 in overload s': percentile(waits(high, isOverload), 0.99),
    'high dropped %': 100 * dropped(high),
    'normal p99 s': percentile(waits(normal, isMeasured), 0.99),
    'normal dropped %': 100 * dropped(normal),
    'low gap s': longestGap(lowTimes) / 1000,
    'low share': usedS(low) / (DURATION_S - WARM_UP_S),
    use: usedS(accounts) / (DURATION_S - WARM_UP_S),
  }
}

function longestGap(timesMs: number[]): number {
  const sorted = [WARM_UP_S * 1000, ...timesMs, DURATION_S * 1000].sort((a, b) => a - b)
  return Math.max(...sorted.slice(1).map((atMs, i) => atMs - sorted[i]!))
}
