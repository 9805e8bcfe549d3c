// A system that is not full: what does a large request wait, and what do the small ones beside it? And one that is idle and
// overrun by turns: does a minute that begins with full buckets still keep to the quota?
import { Cluster, type Quota } from './cluster.ts'
import { percentile } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'
import { type Kind, meanCostS } from './requests.ts'
import { type Account, ofKind, type Source, start } from './sources.ts'

const DURATION_S = 3000
const WARM_UP_S = 60
const LARGE_PART = 0.2
const USERS = 5
const MOST = 10_000

export function runCalm(quotas: Quota[], load: number, { seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas, gateways })
  const { requestsPerS, tokensPerS } = cluster.supply
  const source = (kind: Kind, part: number): Source => ({
    name: kind,
    group: kind,
    rank: 1,
    client: kind,
    weight: 1,
    user: chance => `${kind}-${chance.below(USERS)}`,
    draw: ofKind(kind),
    maxWaitMs: Number.POSITIVE_INFINITY,
    demand: { kind: 'open', perS: () => (load * part) / meanCostS(kind, requestsPerS, tokensPerS), most: MOST },
  })
  const large = start(cluster, source('large', LARGE_PART))
  const small = start(cluster, source('mid', 1 - LARGE_PART))
  const { broken, conservation } = cluster.run(DURATION_S)
  const waits = ({ served }: Account) =>
    served.filter(one => one.atMs > WARM_UP_S * 1000 && one.atMs <= DURATION_S * 1000).map(one => one.waitMs / 1000)
  const figures = {
    'large p50 s': percentile(waits(large), 0.5),
    'large p99 s': percentile(waits(large), 0.99),
    'small p50 s': percentile(waits(small), 0.5),
    'small p90 s': percentile(waits(small), 0.9),
    'small p99 s': percentile(waits(small), 0.99),
    ...conservation,
  }
  return { figures, broken, accounts: [large, small], durationS: DURATION_S }
}

const BURSTS_DURATION_S = 990
const PHASE_S = { idle: 90, overrun: 75 }
const OVERRUN_LOAD = 3
const BURSTS_WAIT_MS = 20_000

/** Small requests only, so that no minute may take more than the quota. */
export function runBursts(quotas: Quota[], { seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas, gateways })
  const { requestsPerS, tokensPerS } = cluster.supply
  const busyPerS = OVERRUN_LOAD / meanCostS('chat', requestsPerS, tokensPerS)
  const isOverrun = (nowMs: number) => (nowMs / 1000) % (PHASE_S.idle + PHASE_S.overrun) >= PHASE_S.idle
  const account = start(cluster, {
    name: 'chat',
    group: 'chat',
    rank: 1,
    client: 'chat',
    weight: 1,
    user: chance => `chat-${chance.below(USERS)}`,
    draw: ofKind('chat'),
    maxWaitMs: BURSTS_WAIT_MS,
    demand: { kind: 'open', perS: nowMs => (isOverrun(nowMs) ? busyPerS : 0), most: MOST },
  })
  const { broken, conservation } = cluster.run(BURSTS_DURATION_S)
  const waits = account.served.map(one => one.waitMs / 1000)
  const usedS = account.served.reduce((total, one) => total + one.costS, 0)
  // What waits when the rush is over is served until its deadline.
  const busyPart = (PHASE_S.overrun + BURSTS_WAIT_MS / 1000) / (PHASE_S.idle + PHASE_S.overrun)
  const figures = {
    'p50 s': percentile(waits, 0.5),
    'p99 s': percentile(waits, 0.99),
    'use while busy': usedS / (BURSTS_DURATION_S * busyPart),
    ...conservation,
  }
  return { figures, broken, accounts: [account], durationS: BURSTS_DURATION_S }
}
