// 26 flows over one to three pools: who gets what part of what a fluid server would give, and who waits how long. Users
// with weights 8, 1 and 1, one that sends twenty times its share, one with tiny requests, three (or one) with requests of
// 60,000 tokens, and twenty light ones at a quarter of theirs.
import { Cluster, type Quota } from './cluster.ts'
import { type Figures, jain, percentile, sum } from './figures.ts'
import { fluidRates } from './fluidOptimum.ts'
import type { Outcome } from './outcome.ts'
import { type Kind, meanCostS } from './requests.ts'
import { serviceGap } from './serviceGap.ts'
import { type Account, ofKind, type Served, type Source, start } from './sources.ts'

export interface FairSetUp {
  quotas: Quota[]
  /** The part of the time each pool is open: what shuts and opens it is `disturb`'s. */
  openShare?: number[]
  durationS?: number
}

const quota = (requestsPerMinute: number, tokensPerMinute: number): Quota => ({ requestsPerMinute, tokensPerMinute })

export const SET_UPS = {
  one: { quotas: [quota(320, 320_000)] },
  two: { quotas: [quota(300, 300_000), quota(300, 300_000)] },
  unequal: { quotas: [quota(200, 200_000), quota(100, 100_000), quota(20, 20_000)] },
  unlike: { quotas: [quota(600, 200_000), quota(100, 400_000)] },
  shutting: { quotas: [quota(300, 300_000), quota(300, 300_000)], openShare: [1, 0.5], durationS: 1560 },
} satisfies Record<string, FairSetUp>

export interface FairOptions {
  seed: number
  largeUsers?: number
  /** All users belong to one client, so all have the same weight. */
  isOneClient?: boolean
  durationS?: number
  gateways?: number | undefined
  lostAnnouncements?: number
  skewMs?: number
  /** What happens meanwhile. */
  disturb?: (cluster: Cluster) => void
}

interface User {
  name: string
  group: string
  kind: Kind
  weight: number
  /** Of its fluid share; absent: backlogged. */
  load?: number
  demandPerS?: number
}

export const WARM_UP_S = 180
const DURATION_S = 1200
const FLIP_MS = 60_000
const LIGHT_USERS = 20
const WAITING = { large: 6, other: 24 }
const NOISY = { maxWaitMs: 60_000, most: 200 }

function crowd(largeUsers: number, isOneClient: boolean): User[] {
  // Of the middling ones a few are large too; without large users there shall be none.
  const kind = largeUsers > 0 ? 'mid' : 'chat'
  const users: User[] = [
    { name: 'heavy', group: 'weight 8', kind, weight: 8 },
    { name: 'plain-a', group: 'weight 1', kind, weight: 1 },
    { name: 'plain-b', group: 'weight 1', kind, weight: 1 },
    { name: 'noisy', group: 'noisy', kind, weight: 1, load: 20 },
    { name: 'tiny', group: 'tiny', kind: 'tiny', weight: 1 },
  ]
  for (let i = 0; i < largeUsers; i += 1) users.push({ name: `large-${i}`, group: 'large', kind: 'large', weight: 1 })
  for (let i = 0; i < LIGHT_USERS; i += 1)
    users.push({ name: `light-${i}`, group: 'light', kind: 'light', weight: 1, load: 0.25 })
  return isOneClient ? users.map(user => ({ ...user, weight: 1 })) : users
}

export function runFairness(setUp: FairSetUp, options: FairOptions): Outcome {
  const { seed, largeUsers = 3, isOneClient = false, gateways, lostAnnouncements, skewMs } = options
  const cluster = new Cluster({ seed, quotas: setUp.quotas, gateways, lostAnnouncements, skewMs })
  const users = crowd(largeUsers, isOneClient)
  const rates = demands(cluster, users, setUp.openShare)
  const accounts = users.map(user => start(cluster, sourceOf(user, isOneClient)))
  if (setUp.openShare) flip(cluster, setUp.openShare)
  options.disturb?.(cluster)
  const durationS = options.durationS ?? setUp.durationS ?? DURATION_S
  const { broken, conservation } = cluster.run(durationS)
  const { requestsPerS, tokensPerS } = cluster.supply
  const fluid = users.map((user, i) => rates[i]! * meanCostS(user.kind, requestsPerS, tokensPerS))
  const figures = { ...measure(accounts, fluid, durationS), ...conservation }
  return { figures, broken, accounts, durationS, fairPerS: byGroup(accounts, fluid) }
}

/** Sets what the light and the noisy ask for, and returns what a fluid server would then give everybody, requests a second. */
function demands(cluster: Cluster, users: User[], openShare?: number[]): number[] {
  const pools = cluster.fluidPools.map((pool, i) => {
    const share = openShare?.[i] ?? 1
    return { ...pool, requestsPerS: pool.requestsPerS * share, tokensPerS: pool.tokensPerS * share }
  })
  const even = fluidRates(users, pools)
  for (const [i, user] of users.entries()) if (user.load) user.demandPerS = even[i]! * user.load
  return fluidRates(users, pools)
}

function sourceOf(user: User, isOneClient: boolean): Source {
  const { name, group, kind, weight, demandPerS } = user
  const isNoisy = group === 'noisy'
  return {
    name,
    group,
    rank: 1,
    client: isOneClient ? 'all' : name,
    weight,
    user: () => name,
    draw: ofKind(kind),
    maxWaitMs: isNoisy ? NOISY.maxWaitMs : Number.POSITIVE_INFINITY,
    demand:
      demandPerS === undefined
        ? { kind: 'backlogged', waiting: kind === 'large' ? WAITING.large : WAITING.other }
        : { kind: 'open', perS: () => demandPerS, most: NOISY.most },
  }
}

/** Shuts the pools that are not always open, a minute in two. */
function flip(cluster: Cluster, openShare: number[]): void {
  let isOpen = true
  const turn = () => {
    isOpen = !isOpen
    for (const [i, share] of openShare.entries()) if (share < 1) cluster.ledger.setGate(`pool-${i}`, isOpen ? -1 : 0)
    cluster.time.after(FLIP_MS, turn)
  }
  cluster.time.after(FLIP_MS, turn)
}

function byGroup(accounts: Account[], fluid: number[]): Map<string, number> {
  const fair = new Map<string, number>()
  for (const [i, { source }] of accounts.entries()) fair.set(source.group, (fair.get(source.group) ?? 0) + fluid[i]!)
  return fair
}

function measure(accounts: Account[], fluid: number[], durationS: number): Figures {
  const spanS = durationS - WARM_UP_S
  const since = (account: Account) =>
    account.served.filter(one => one.atMs > WARM_UP_S * 1000 && one.atMs <= durationS * 1000)
  const shares = accounts.map((account, i) => sum(since(account).map(one => one.costS)) / spanS / fluid[i]!)
  const backlogged = accounts.flatMap(({ source }, i) => (source.group === 'light' ? [] : [i]))
  const weights = backlogged.map(i => accounts[i]!.source.weight)
  const ofGroup = (group: string) => {
    const members = accounts.flatMap(({ source }, i) => (source.group === group ? [shares[i]!] : []))
    return sum(members) / members.length
  }
  const lightWaits = accounts
    .filter(one => one.source.group === 'light')
    .flatMap(one => since(one).map(o => o.waitMs / 1000))
  const large = accounts.filter(one => one.source.group === 'large')
  return {
    use: sum(backlogged.map((i, k) => shares[i]! * weights[k]!)) / sum(weights),
    jain: jain(backlogged.map(i => shares[i]!)),
    worst: Math.min(...backlogged.map(i => shares[i]!)),
    'light p50': percentile(lightWaits, 0.5),
    'light p99': percentile(lightWaits, 0.99),
    'light max': Math.max(...lightWaits),
    'weight 8': ofGroup('weight 8'),
    'weight 1': ofGroup('weight 1'),
    noisy: ofGroup('noisy'),
    tiny: ofGroup('tiny'),
    ...(large.length > 0 && {
      large: ofGroup('large'),
      'large least': Math.min(...accounts.flatMap((one, i) => (large.includes(one) ? [shares[i]!] : []))),
      'large gap s': Math.max(...large.map(one => longestGap(since(one), durationS))),
    }),
    'service gap': serviceGap(
      backlogged.map(i => ({ served: since(accounts[i]!), weight: accounts[i]!.source.weight })),
    ),
  }
}

function longestGap(served: Served[], endS: number): number {
  let longest = 0
  let lastS = WARM_UP_S
  for (const atS of [...served.map(one => one.atMs / 1000), endS]) {
    longest = Math.max(longest, atS - lastS)
    lastS = atS
  }
  return longest
}
