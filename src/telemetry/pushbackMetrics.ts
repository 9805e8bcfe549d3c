// Metrics of what Sluice does when Bedrock pushes back: learned rates, the breaker, retries. Labels as in metrics.ts.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Dimension } from '../domain/pool.ts'
import type { PaceStanding, PoolStanding, SteeringEvent } from '../domain/steering.ts'
import { DIMENSIONS, type Evidence } from '../domain/useMeter.ts'
import type { ModelStanding } from '../gateway/controlLoop.ts'

/** How much it keeps out. */
const BREAKER_LEVEL = { closed: 0, ramping: 0.5, 'half-open': 1, shut: 2 }
const BY_DIMENSION = ['model', 'pool', 'dimension'] as const

export class PushbackMetrics {
  readonly #cuts: Counter<(typeof BY_DIMENSION)[number]>
  readonly #transitions: Counter<'model' | 'pool' | 'to'>
  readonly #retries: Counter<'model' | 'pool'>
  readonly #refusals: Counter<'model'>
  #source: () => Promise<ModelStanding[]> = async () => []
  /** What the control loops said at this scrape. */
  #standings: Promise<ModelStanding[]> = Promise.resolve([])

  constructor(registry: Registry) {
    const registers = [registry]
    this.#cuts = new Counter({
      name: 'sluice_pace_cuts_total',
      help: 'Cuts of a learned rate, decided by this gateway.',
      labelNames: BY_DIMENSION,
      registers,
    })
    this.#transitions = new Counter({
      name: 'sluice_breaker_transitions_total',
      help: 'Changes of a pool breaker, decided by this gateway.',
      labelNames: ['model', 'pool', 'to'],
      registers,
    })
    this.#retries = new Counter({
      name: 'sluice_retries_total',
      help: 'Calls sent again after they failed at this pool; throttles not counted.',
      labelNames: ['model', 'pool'],
      registers,
    })
    this.#refusals = new Counter({
      name: 'sluice_retry_budget_refusals_total',
      help: 'Retries that the budget did not allow.',
      labelNames: ['model'],
      registers,
    })
    this.#gauges(registers)
    this.#breakerGauge(registers)
  }

  #gauges(registers: Registry[]): void {
    const standings = () => this.#standings
    const byDimension = (
      name: string,
      help: string,
      read: (pool: PoolStanding, dimension: Dimension) => number | undefined,
    ) =>
      new Gauge({
        name,
        help,
        labelNames: BY_DIMENSION,
        registers,
        async collect() {
          const all = await standings()
          // Whatever a reload has removed has no series any more, or its alerts would not end.
          this.reset()
          for (const { model, pools } of all)
            for (const pool of pools)
              for (const dimension of DIMENSIONS) {
                const value = read(pool, dimension)
                if (value !== undefined) this.set({ model, pool: pool.pool, dimension }, value)
              }
        },
      })
    const pace = (read: (standing: PaceStanding) => number) => (pool: PoolStanding, dimension: Dimension) => {
      const standing = pool.pace[dimension]
      return standing && read(standing)
    }
    const use = (read: (evidence: Evidence) => number) => (pool: PoolStanding, dimension: Dimension) => {
      const evidence = pool.binding[dimension]
      return evidence && read(evidence)
    }
    byDimension(
      'sluice_pace_per_minute',
      'The rate that has been learned.',
      pace(one => one.believedPerMinute),
    )
    byDimension(
      'sluice_quota_configured_per_minute',
      'Quota, as the config has it.',
      pace(one => one.configuredPerMinute),
    )
    byDimension(
      'sluice_quota_use_ratio',
      'Part of the learned rate used over the last five minutes.',
      use(one => one.ofBelieved),
    )
    byDimension(
      'sluice_quota_limited_ratio',
      'Part of the last five minutes in which this quota held somebody back.',
      use(one => one.limitedPart),
    )
    byDimension('sluice_quota_binds', '1: of the two quotas of the pool this one binds.', ({ binding }, dimension) =>
      binding[dimension] ? Number(binding.binds === dimension) : undefined,
    )
  }

  #breakerGauge(registers: Registry[]): void {
    const standings = () => this.#standings
    new Gauge({
      name: 'sluice_breaker_state',
      help: '0: the pool is open to all; 0.5: on its way back to all of the pace; 1: half-open; 2: shut.',
      labelNames: ['model', 'pool'],
      registers,
      async collect() {
        const all = await standings()
        this.reset()
        for (const { model, pools } of all)
          for (const { pool, breaker } of pools) this.set({ model, pool }, BREAKER_LEVEL[breaker.state])
      },
    })
  }

  /** Where the gauges are read from. */
  watch(source: () => Promise<ModelStanding[]>): void {
    this.#source = source
  }

  /** A scrape begins: the source is asked once for all gauges. */
  refresh(): void {
    this.#standings = this.#source()
  }

  happened(model: string, events: SteeringEvent[]): void {
    for (const event of events) {
      const { pool } = event
      if (event.kind === 'cut') this.#cuts.inc({ model, pool, dimension: event.dimension })
      else this.#transitions.inc({ model, pool, to: event.to })
    }
  }

  retried(model: string, pool: string): void {
    this.#retries.inc({ model, pool })
  }

  budgetRefused(model: string): void {
    this.#refusals.inc({ model })
  }
}
