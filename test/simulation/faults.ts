// What goes wrong in a cluster, each in the middle of the same run: 26 flows over two equal pools. Nothing promised may break,
// and the shares may suffer only for a moment.
import { Cluster } from './cluster.ts'
import { type FairOptions, runFairness, SET_UPS } from './fairness.ts'
import { percentile, sum } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'
import { meanCostS, type Size } from './requests.ts'
import { ofKind, start } from './sources.ts'

type Trouble = Omit<FairOptions, 'seed' | 'gateways'>

const AT_MS = 480_000
const DURATION_S = 900

export const TROUBLES = {
  none: {},
  'lost announcements': { lostAnnouncements: 0.3 },
  'all announcements lost': { lostAnnouncements: 1 },
  'gateway killed': { disturb: cluster => void cluster.time.after(AT_MS, () => cluster.kill(3)) },
  'ledger restarted': { disturb: cluster => void cluster.time.after(AT_MS, () => cluster.restartLedger()) },
  'clock 5 s behind': failover(-5_000),
  'clock 1 s behind': failover(-1_000),
  'clock 30 s ahead': failover(30_000),
  'skewed gateways': { skewMs: 3_000 },
} satisfies Record<string, Trouble>

export type TroubleName = keyof typeof TROUBLES

function failover(stepMs: number): Trouble {
  return {
    disturb(cluster) {
      cluster.time.after(AT_MS, () => {
        cluster.ledger.clockAheadMs += stepMs
      })
    },
  }
}

export function runTrouble(name: TroubleName, { seed, gateways }: RunOptions): Outcome {
  const trouble: Trouble = TROUBLES[name]
  const outcome = runFairness(SET_UPS.two, { ...trouble, seed, gateways, durationS: DURATION_S })
  const lost = sum(outcome.accounts.map(one => one.endings.lost.length))
  return { ...outcome, figures: { ...outcome.figures, lost } }
}

const THROTTLED_FROM_MS = 300_000
const THROTTLED_TO_MS = 900_000

/** One pool's upstream gives but a part of its quota for ten minutes, as a bucket of a minute would. */
export function runThrottled(share: number, { seed, gateways }: RunOptions): Outcome {
  let sends = 0
  let throttled = 0
  const outcome = runFairness(SET_UPS.two, {
    seed,
    gateways,
    disturb: cluster => {
      const upstream = new ThrottlingUpstream(SET_UPS.two.quotas[0]!.tokensPerMinute, share)
      cluster.throttle((pool, size) => {
        sends += 1
        const isThrottled = pool === 'pool-0' && upstream.throttles(size, cluster.time.nowMs)
        if (isThrottled) throttled += 1
        return isThrottled
      })
    },
  })
  const back = sum(outcome.accounts.map(one => one.endings['given-back'].length))
  const figures = { ...outcome.figures, 'throttles per 1000': (1000 * throttled) / sends, 'given back': back }
  return { ...outcome, figures }
}

const QUIET_GATEWAYS = 20
const QUIET_LOAD = 0.5
const QUIET_THROTTLES = { part: 0.3, afterMs: 12_000 }
const QUIET_WAIT_MS = 60_000

/** Few calls and many gateways, so that one says nothing for ten seconds while an answer takes long to become a throttle. */
export function runQuietThrottles({ seed }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas: SET_UPS.one.quotas, gateways: QUIET_GATEWAYS })
  const { chance } = cluster.time
  const { requestsPerS, tokensPerS } = cluster.supply
  cluster.throttle(() => chance.next() < QUIET_THROTTLES.part, QUIET_THROTTLES.afterMs)
  const perS = QUIET_LOAD / meanCostS('mid', requestsPerS, tokensPerS)
  const account = start(cluster, {
    name: 'calm',
    group: 'calm',
    rank: 1,
    client: 'calm',
    weight: 1,
    user: () => `user-${chance.below(5)}`,
    draw: ofKind('mid'),
    maxWaitMs: QUIET_WAIT_MS,
    demand: { kind: 'open', perS: () => perS, most: 1000 },
  })
  const { broken, conservation } = cluster.run(DURATION_S)
  const { endings, sent, throttled, served } = account
  const figures = {
    sent,
    throttled,
    forgotten: endings.forgotten.length,
    'timed out': endings['timed-out'].length,
    'given back': endings['given-back'].length,
    'p99 s': percentile(
      served.map(one => one.waitMs / 1000),
      0.99,
    ),
    ...conservation,
  }
  return { figures, broken, accounts: [account], durationS: DURATION_S }
}

class ThrottlingUpstream {
  readonly #quotaPerMinute: number
  readonly #share: number
  #level: number
  #asOfMs = 0
  readonly #refunds: { atMs: number; tokens: number }[] = []

  constructor(quotaPerMinute: number, share: number) {
    this.#quotaPerMinute = quotaPerMinute
    this.#share = share
    this.#level = quotaPerMinute
  }

  throttles(size: Size, nowMs: number): boolean {
    const part = nowMs >= THROTTLED_FROM_MS && nowMs < THROTTLED_TO_MS ? this.#share : 1
    const most = part * this.#quotaPerMinute
    this.#level = Math.min(most, this.#level + ((nowMs - this.#asOfMs) * most) / 60_000 + this.#refunded(nowMs))
    this.#asOfMs = nowMs
    if (this.#level < size.reservedTokens) return true
    this.#level -= size.reservedTokens
    this.#refunds.push({ atMs: nowMs + size.durationMs, tokens: size.reservedTokens - size.chargedTokens })
    return false
  }

  #refunded(nowMs: number): number {
    let tokens = 0
    for (let i = this.#refunds.length - 1; i >= 0; i -= 1) {
      if (this.#refunds[i]!.atMs > nowMs) continue
      tokens += this.#refunds[i]!.tokens
      this.#refunds.splice(i, 1)
    }
    return tokens
  }
}
