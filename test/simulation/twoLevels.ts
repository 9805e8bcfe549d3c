// Clients share by weight, and the users of a client share its part, however many names it invents. A : B : C = 1 : 1 : 2;
// A has two busy users and a light one, C five; B is now modest, now many, now under a new name with every request.
import { Cluster, type Quota } from './cluster.ts'
import { type Figures, jain, percentile, sum } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'

import { type Account, ofKind, type Source, start } from './sources.ts'

export const SCENES = ['steady', 'hundred users', 'fresh names', 'waves'] as const
export type Scene = (typeof SCENES)[number]

const ONE_POOL: Quota[] = [{ requestsPerMinute: 600, tokensPerMinute: 600_000 }]
const DURATION_S = 2000
const WARM_UP_S = 120
const WINDOW_S = 20
const WEIGHTS: Record<string, number> = { A: 1, B: 1, C: 2 }
const TOTAL_WEIGHT = 4
const WAVE_S = 30
/** Else what a wave leaves behind would wait for ever. */
const WAVE_MAX_WAIT_MS = 60_000
const LIGHT_EVERY_S = 8

interface Backlog {
  client: string
  name: string
  waiting: number
  user?: () => string
  untilMs?: number
}

export function runTwoLevels(scene: Scene, { seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas: ONE_POOL, gateways })
  const accounts: Account[] = []
  const add = (backlog: Backlog) => accounts.push(start(cluster, backlogged(backlog)))
  for (const name of ['A-1', 'A-2']) add({ client: 'A', name, waiting: 4 })
  for (let i = 0; i < 5; i += 1) add({ client: 'C', name: `C-${i}`, waiting: 4 })
  accounts.push(start(cluster, lightOfA()))
  ENTER[scene](cluster, add)
  const { broken, conservation } = cluster.run(DURATION_S)
  const fairPerS = new Map(Object.entries(WEIGHTS).map(([client, weight]) => [client, weight / TOTAL_WEIGHT]))
  return {
    figures: { ...measure(accounts), ...conservation },
    broken,
    accounts,
    durationS: DURATION_S,
    fairPerS,
  }
}

const ENTER: Record<Scene, (cluster: Cluster, add: (backlog: Backlog) => void) => void> = {
  steady: (_, add) => {
    for (let i = 0; i < 4; i += 1) add({ client: 'B', name: `B-${i}`, waiting: 3 })
  },
  'hundred users': (_, add) => {
    for (let i = 0; i < 100; i += 1) add({ client: 'B', name: `B-${i}`, waiting: 1 })
  },
  'fresh names': (_, add) => add({ client: 'B', name: 'B-fresh', waiting: 10, user: freshNames('B') }),
  waves: ({ time }, add) => {
    const wave = () => {
      const untilMs = time.nowMs + WAVE_S * 1000
      const users = time.chance.next() < 0.5 ? 1 : 40
      for (let i = 0; i < users; i += 1) add({ client: 'B', name: `B-${time.chance.below(200)}`, waiting: 3, untilMs })
      add({ client: 'B', name: 'B-base', waiting: 2, untilMs })
      if (time.nowMs < DURATION_S * 1000) time.after(WAVE_S * 1000, wave)
    }
    wave()
  },
}

function freshNames(prefix: string): () => string {
  let count = 0
  return () => `${prefix}-fresh-${count++}`
}

function backlogged({ client, name, waiting, user = () => name, untilMs = Infinity }: Backlog): Source {
  return {
    name,
    group: client,
    rank: 1,
    client,
    weight: WEIGHTS[client] ?? 1,
    user,
    draw: ofKind('mid'),
    maxWaitMs: untilMs === Number.POSITIVE_INFINITY ? untilMs : WAVE_MAX_WAIT_MS,
    demand: { kind: 'backlogged', waiting, untilMs },
  }
}

function lightOfA(): Source {
  const demand = { kind: 'open' as const, perS: () => 1 / LIGHT_EVERY_S, most: 1000 }
  return { ...backlogged({ client: 'A', name: 'A-light', waiting: 0 }), demand }
}

function measure(accounts: Account[]): Figures {
  const isMeasured = ({ atMs }: { atMs: number }) => atMs > WARM_UP_S * 1000 && atMs <= DURATION_S * 1000
  const had = (some: Account[]) => sum(some.flatMap(one => one.served.filter(isMeasured).map(turn => turn.costS)))
  const of = (client: string) => accounts.filter(one => one.source.client === client)
  const total = had(accounts)
  const share = (client: string) => had(of(client)) / total / (WEIGHTS[client]! / TOTAL_WEIGHT)
  const light = accounts.find(one => one.source.name === 'A-light')!
  return {
    A: share('A'),
    B: share('B'),
    C: share('C'),
    'A worst 20 s': worstWindow(of('A')) / (WEIGHTS.A! / TOTAL_WEIGHT),
    'users of C (Jain)': jain(of('C').map(one => had([one]))),
    "A's light p99 s": percentile(
      light.served.filter(isMeasured).map(one => one.waitMs / 1000),
      0.99,
    ),
    use: total / (DURATION_S - WARM_UP_S),
  }
}

/** Seconds of quota a second in the leanest window. */
function worstWindow(accounts: Account[]): number {
  const windows = new Array<number>(Math.floor((DURATION_S - WARM_UP_S) / WINDOW_S)).fill(0)
  for (const { atMs, costS } of accounts.flatMap(one => one.served)) {
    const index = Math.floor((atMs / 1000 - WARM_UP_S) / WINDOW_S)
    if (index >= 0 && index < windows.length) windows[index]! += costS
  }
  return Math.min(...windows) / WINDOW_S
}

const FRESH_WAITING = 10

/** Within one client: a user who is known, against a neighbour who comes under a new name with every request. */
export function runFreshNeighbour({ seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas: ONE_POOL, gateways })
  const known = start(cluster, { ...backlogged({ client: 'X', name: 'known', waiting: 20 }), group: 'known' })
  const user = freshNames('X')
  const fresh = start(cluster, {
    ...backlogged({ client: 'X', name: 'fresh', waiting: FRESH_WAITING, user }),
    group: 'fresh',
  })
  const accounts = [known, fresh]
  const { broken, conservation } = cluster.run(DURATION_S)
  const had = ({ served }: Account) =>
    sum(served.filter(one => one.atMs > WARM_UP_S * 1000 && one.atMs <= DURATION_S * 1000).map(one => one.costS))
  const fair = 1 / (FRESH_WAITING + 1)
  const total = had(known) + had(fresh)
  return {
    figures: {
      known: had(known) / total / fair,
      fresh: had(fresh) / total / (1 - fair),
      use: total / (DURATION_S - WARM_UP_S),
      ...conservation,
    },
    broken,
    accounts,
    durationS: DURATION_S,
    fairPerS: new Map([
      ['known', fair],
      ['fresh', 1 - fair],
    ]),
  }
}
