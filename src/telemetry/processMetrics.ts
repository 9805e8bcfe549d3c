// The process itself: which build it is, which config it runs, and Node.js's own figures beside them.
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client'

/** Sums of `nodejs_active_handles` and its like, gauges that are named as only counters may be. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

export class ProcessMetrics {
  readonly #registry: Registry
  readonly #build: Gauge<'version'>
  readonly #reloads: Counter<'outcome'>
  readonly #lastReloadWorked: Gauge
  readonly #configTakenAt: Gauge

  constructor(registry: Registry) {
    this.#registry = registry
    const registers = [registry]
    this.#build = new Gauge({
      name: 'sluice_build_info',
      help: '1, with the version that runs.',
      labelNames: ['version'],
      registers,
    })
    this.#reloads = new Counter({
      name: 'sluice_config_loads_total',
      help: 'Configs read, the first included, by outcome.',
      labelNames: ['outcome'],
      registers,
    })
    this.#lastReloadWorked = new Gauge({
      name: 'sluice_config_last_load_successful',
      help: '0: the config read last is faulty, and an older one runs.',
      registers,
    })
    this.#configTakenAt = new Gauge({
      name: 'sluice_config_taken_timestamp_seconds',
      help: 'When the config that runs was taken over, in Unix time.',
      registers,
    })
  }

  /** Once, before the first scrape. */
  watchUnattended(calls: () => number): void {
    new Gauge({
      name: 'sluice_unattended',
      help: 'Calls that run on without their client.',
      registers: [this.#registry],
      collect() {
        this.set(calls())
      },
    })
  }

  /** Node.js's and the process's own. */
  collectDefaults(): void {
    collectDefaultMetrics({ register: this.#registry })
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name)
  }

  built(version: string): void {
    this.#build.set({ version }, 1)
  }

  /** At the start and at each reload that succeeds. */
  configTaken(nowMs: number): void {
    this.#reloads.inc({ outcome: 'taken' })
    this.#lastReloadWorked.set(1)
    this.#configTakenAt.set(Math.round(nowMs / 1000))
  }

  /** A reload found faults: the old config stays. */
  configFaulty(): void {
    this.#reloads.inc({ outcome: 'faulty' })
    this.#lastReloadWorked.set(0)
  }
}
