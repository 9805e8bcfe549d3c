// A board in this process, for the control loop's own tests: it adds up reports and gives the lease to whoever comes first.
import type { Clock } from '../../src/domain/clock.ts'
import { OPEN_TO_ALL } from '../../src/domain/pool.ts'
import {
  LEASE_MS,
  noCounts,
  type PoolCounts,
  type PoolNews,
  type PoolReport,
  type Report,
  type Steering,
} from '../../src/domain/poolReport.ts'
import type { Board } from '../../src/gateway/ports.ts'

export class MemoryBoard {
  readonly #clock: Clock
  readonly #pools: string[]
  readonly #gates = new Map<string, number>()
  #sums = new Map<string, { counts: PoolCounts; failedInRow: number }>()
  #state = ''
  #lease = { holder: '', untilMs: 0 }
  reports = 0
  steered = 0
  /** Reports under way; more than one at a time of the same gateway is a fault. */
  underWay = 0
  mostUnderWay = 0
  /** How long a report takes. */
  takesMs = 0
  fails = false

  constructor(clock: Clock, pools: string[]) {
    this.#clock = clock
    this.#pools = pools
  }

  gateOf(pool: string): number {
    return this.#gates.get(pool) ?? OPEN_TO_ALL
  }

  /** As one gateway sees it. */
  of(gateway: string): Board {
    return {
      report: async (_model, news) => {
        this.reports += 1
        this.underWay += 1
        this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay)
        if (this.takesMs > 0) await new Promise<void>(resolve => this.#clock.after(this.takesMs, resolve))
        this.underWay -= 1
        if (this.fails) throw new Error('the board is away')
        return this.#report(gateway, news)
      },
      steer: async (_model, steering) => this.#steer(gateway, steering),
    }
  }

  #report(gateway: string, news: PoolNews[]): Report {
    const nowMs = this.#clock.nowMs()
    for (const { pool, counts, failedInRow } of news) {
      const before = this.#sums.get(pool)
      const row = counts.succeeded > 0 ? 0 : (before?.failedInRow ?? 0)
      this.#sums.set(pool, { counts: added(before?.counts ?? noCounts(), counts), failedInRow: row + failedInRow })
    }
    const gates = this.#pools.map(pool => ({ pool, gate: this.gateOf(pool) }))
    const report: Report = { nowMs, state: this.#state, gates }
    if (this.#lease.holder !== gateway && this.#lease.untilMs > nowMs) return report
    this.#lease = { holder: gateway, untilMs: nowMs + LEASE_MS }
    const pools = this.#pools.map((pool): PoolReport => {
      const { counts = noCounts(), failedInRow = 0 } = this.#sums.get(pool) ?? {}
      this.#sums.set(pool, { counts: noCounts(), failedInRow })
      const limited = { requests: false, tokens: false }
      return { pool, counts, failedInRow, gate: this.gateOf(pool), limited, fill: { requests: 1, tokens: 1 } }
    })
    return { ...report, pools }
  }

  #steer(gateway: string, { state, pools }: Steering): void {
    if (this.#lease.holder !== gateway) return
    this.steered += 1
    this.#state = state
    for (const { pool, gate } of pools) if (gate !== undefined) this.#gates.set(pool, gate)
  }
}

function added(a: PoolCounts, b: PoolCounts): PoolCounts {
  const sum = noCounts()
  for (const kind of Object.keys(sum) as (keyof PoolCounts)[]) sum[kind] = a[kind] + b[kind]
  return sum
}
