// Where the gateways put together what they saw of a model's pools, and where one of them at a time, which holds the lease,
// decides for all. The law that decides is the leader's (steering.ts); what must not wait for it is done here: a pool that
// fails too often in a row is shut by the report that says so. Its twin in Redis does the same.
import { OPEN_TO_ALL, type Pool, SHUT } from './pool.ts'
import {
  LEASE_MS,
  noCounts,
  type PoolCounts,
  type PoolNews,
  type PoolReport,
  type Report,
  type Steering,
} from './poolReport.ts'
import type { PoolChange } from './room.ts'
import type { WaitingRoom } from './waitingRoom.ts'

/** What is held of a pool until the next step. */
interface Tally {
  counts: PoolCounts
  /** Consecutive failures, and since when they are told of: they outlast the step. */
  failedInRow: number
  rowSinceMs: number
  /** How many of them shut the pool; 0: as many as are configured. */
  failures: number
}

export class Board {
  readonly #room: WaitingRoom
  #state = ''
  #lease: { holder: string; untilMs: number } | undefined
  #tallies = new Map<string, Tally>()

  constructor(room: WaitingRoom) {
    this.#room = room
  }

  /** Adds the gateway's news, and tells how things stand: all of it to the one that holds the lease, which is then a new step. */
  report(gateway: string, news: PoolNews[], nowMs: number): Report {
    const room = this.#room
    const now = room.hear(gateway, nowMs)
    this.#keepTallies()
    room.adjust(
      news.flatMap(one => this.#take(one, now)),
      now,
    )
    const gates = room.pools.map(({ name, gate }) => ({ pool: name, gate }))
    const report: Report = { nowMs: now, state: this.#state, gates }
    if (this.#isHeld(now) && this.#lease!.holder !== gateway) return report
    this.#lease = { holder: gateway, untilMs: now + LEASE_MS }
    return { ...report, pools: room.pools.map(pool => this.#handOver(pool)) }
  }

  /** What the step decided. False, and nothing has changed, when the lease is not the gateway's any more. */
  steer(gateway: string, { state, pools }: Steering, nowMs: number): boolean {
    const now = this.#room.hear(gateway, nowMs)
    if (!this.#isHeld(now) || this.#lease!.holder !== gateway) return false
    this.#state = state
    this.#keepTallies()
    for (const { pool, failures } of pools) {
      const tally = this.#tallies.get(pool)
      if (tally && failures !== undefined) tally.failures = failures
    }
    this.#room.adjust(pools, now)
    return true
  }

  /** Of pools that are gone nothing is kept. */
  #keepTallies(): void {
    this.#tallies = new Map(this.#room.pools.map(({ name }) => [name, this.#tallies.get(name) ?? newTally()]))
  }

  /** A clock that was set back must not make the lease a long one. */
  #isHeld(nowMs: number): boolean {
    if (!this.#lease) return false
    const leftMs = this.#lease.untilMs - nowMs
    return leftMs > 0 && leftMs <= LEASE_MS
  }

  /**
   * The pool is shut when these news end a row of failures that is long enough. A call that was
   * sent before the row began says nothing of it, though it succeeds after: answers take seconds, failures come at once.
   */
  #take({ pool: name, counts, failedInRow, youngestGoodMs }: PoolNews, nowMs: number): PoolChange[] {
    const tally = this.#tallies.get(name)
    const pool = this.#room.pools.find(one => one.name === name)
    if (!tally || !pool) return []
    for (const kind of Object.keys(tally.counts) as (keyof PoolCounts)[]) tally.counts[kind] += counts[kind]
    if (youngestGoodMs !== undefined && nowMs - youngestGoodMs >= Math.min(tally.rowSinceMs, nowMs))
      tally.failedInRow = 0
    if (tally.failedInRow === 0) tally.rowSinceMs = nowMs
    tally.failedInRow += failedInRow
    const { failures: configured = Infinity } = this.#room.settings
    const isRow = failedInRow > 0 && tally.failedInRow >= (tally.failures > 0 ? tally.failures : configured)
    return isRow && pool.gate === OPEN_TO_ALL ? [{ pool: name, gate: SHUT }] : []
  }

  #handOver(pool: Pool): PoolReport {
    const { name, gate, fill, limited } = pool
    const tally = this.#tallies.get(name)!
    const { counts, failedInRow } = tally
    const report = { pool: name, counts, failedInRow, gate, limited: { ...limited }, fill }
    tally.counts = noCounts()
    limited.requests = false
    limited.tokens = false
    return report
  }
}

function newTally(): Tally {
  return { counts: noCounts(), failedInRow: 0, rowSinceMs: 0, failures: 0 }
}
