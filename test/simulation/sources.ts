// Who sends: sources that keep so many requests waiting, or that send as chance has it. What each was given is written down
// in an account of its own.
import type { Cluster } from './cluster.ts'
import type { Ending } from './gateway.ts'
import { drawSize, type Kind, type Size } from './requests.ts'
import type { Chance } from './virtualTime.ts'

export interface Source {
  name: string
  /** Drawn as one line in charts. */
  group: string
  rank: number
  client: string
  weight: number
  /** Who sends the next request. */
  user: (chance: Chance) => string
  draw: (chance: Chance) => Size
  maxWaitMs: number
  demand: Demand
}

export type Demand =
  | { kind: 'backlogged'; waiting: number; untilMs?: number }
  /** Poisson, while no more than `most` wait. `perS` may change over time. */
  | { kind: 'open'; perS: (nowMs: number) => number; most: number }

/** One turn. `askedMs` and `atMs` from the start of the run. */
export interface Served {
  askedMs: number
  atMs: number
  waitMs: number
  costS: number
}

/** What became of one source's requests. */
export interface Account {
  source: Source
  served: Served[]
  /** When those asked that left without an answer, by how. */
  endings: Record<Exclude<Ending, 'answered'>, number[]>
  /** Turns that the upstream threw back. */
  throttled: number
  sent: number
  ended: number
  /** Sent, and without a turn yet. */
  waiting: number
}

/** Whoever keeps requests waiting takes a moment to send the next one, and longer after a failure. */
const THINK_MS = 1
const RETRY_MS = 1_000
const STAGGER_MS = 1_000

export function ofKind(kind: Kind): (chance: Chance) => Size {
  return chance => drawSize(kind, chance)
}

/** Starts the source; it sends until `untilMs`, or the cluster closes. */
export function start(cluster: Cluster, source: Source): Account {
  const account = newAccount(source)
  const { time } = cluster
  const { demand } = source
  if (demand.kind === 'backlogged') {
    const untilMs = demand.untilMs ?? Number.POSITIVE_INFINITY
    const again = (delayMs: number) =>
      void time.after(delayMs, () => {
        if (!cluster.isClosing && time.nowMs < untilMs) sendOne(cluster, account, again)
      })
    for (let i = 0; i < demand.waiting; i += 1) again(time.chance.between(0, STAGGER_MS))
    return account
  }
  const arrive = () => {
    if (cluster.isClosing) return
    if (account.waiting < demand.most) sendOne(cluster, account, () => {})
    next()
  }
  const next = () => {
    const perS = demand.perS(time.nowMs)
    if (cluster.isClosing) return
    if (perS > 0) time.after(time.chance.exponential(1000 / perS), arrive)
    else time.after(RETRY_MS, next)
  }
  next()
  return account
}

export function newAccount(source: Source): Account {
  const endings = { refused: [], 'timed-out': [], 'given-back': [], lost: [], forgotten: [] }
  return { source, served: [], endings, throttled: 0, sent: 0, ended: 0, waiting: 0 }
}

/** `again` is told when the next may be sent. */
export function sendOne(
  cluster: Cluster,
  account: Account,
  again: (delayMs: number) => void,
  size: Size = account.source.draw(cluster.time.chance),
): void {
  const { source } = account
  const { time } = cluster
  const askedMs = time.nowMs
  let hasTurn = false
  account.sent += 1
  account.waiting += 1
  const leave = (delayMs: number) => {
    if (hasTurn) return
    hasTurn = true
    account.waiting -= 1
    again(delayMs)
  }
  cluster.send({
    rank: source.rank,
    client: source.client,
    weight: source.weight,
    user: source.user(time.chance),
    size,
    maxWaitMs: source.maxWaitMs,
    onTurn(waitMs, isThrottled) {
      leave(THINK_MS)
      if (isThrottled) account.throttled += 1
      else account.served.push({ askedMs, atMs: time.nowMs, waitMs, costS: cluster.costS(size.chargedTokens) })
    },
    onEnded(ending) {
      account.ended += 1
      if (ending !== 'answered') account.endings[ending].push(askedMs)
      leave(RETRY_MS)
    },
  })
}
