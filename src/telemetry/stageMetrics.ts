// How full the stages are, how long a request is in each, and whom they refuse.
import { Counter, Gauge, type Registry } from 'prom-client'
import { PRIORITIES } from '../domain/model.ts'
import type { RefusalCode } from '../domain/refusal.ts'
import type { Finished, ModelStatus } from '../gateway/ports.ts'
import type { StageName, StageReading } from '../gateway/stage.ts'
import { BUCKETS, Histogram, type Tally } from './histogram.ts'

export interface StagesWatched {
  read: (models: ModelStatus[]) => StageReading[]
  /** By stage (or `event-loop`) and rank, since the start. */
  refused: Record<string, readonly number[]>
  loopDelayMs: () => number
}

const UNWATCHED: StagesWatched = { read: () => [], refused: {}, loopDelayMs: () => 0 }
/** What those are told whom the waiting room refuses. */
const ADMISSION: ReadonlySet<RefusalCode> = new Set([
  'queue-full',
  'client-queue-full',
  'wait-too-long',
  'wait-timeout',
  'no-pool-open',
])

export class StageMetrics {
  readonly #seconds = new Histogram(
    'sluice_stage_seconds',
    'Time a request spent in a stage.',
    ['stage'],
    BUCKETS.stage,
  )
  readonly #admit = this.durations('admit')
  readonly #send = this.durations('send')
  /** By the gateway, and by rank. */
  readonly #refused = { admit: PRIORITIES.map(() => 0), send: PRIORITIES.map(() => 0) }
  #watched = UNWATCHED

  /** `models`: what the ledger said at this scrape. */
  constructor(registry: Registry, models: () => Promise<ModelStatus[]>) {
    const registers = [registry]
    const readings = async () => this.#watched.read(await models())
    new Gauge({
      name: 'sluice_stage_depth',
      help: 'What is in a stage: requests; of receive bytes.',
      labelNames: ['stage'],
      registers,
      async collect() {
        for (const { stage, depth } of await readings()) this.set({ stage }, depth)
      },
    })
    new Gauge({
      name: 'sluice_stage_limit',
      help: 'What a stage takes at most.',
      labelNames: ['stage'],
      registers,
      async collect() {
        for (const { stage, limit } of await readings()) this.set({ stage }, limit)
      },
    })
    const refused = () => Object.entries({ ...this.#refused, ...this.#watched.refused })
    new Counter({
      name: 'sluice_stage_refusals_total',
      help: 'Requests that a full stage, or a late event loop, refused.',
      labelNames: ['stage', 'priority'],
      registers,
      collect() {
        this.reset()
        for (const [stage, byRank] of refused())
          for (const [rank, count] of byRank.entries()) this.inc({ stage, priority: PRIORITIES[rank]! }, count)
      },
    })
    const delaySeconds = () => this.#watched.loopDelayMs() / 1000
    new Gauge({
      name: 'sluice_event_loop_delay_seconds',
      help: 'How late the event loop is, smoothed over a second.',
      registers,
      collect() {
        this.set(delaySeconds())
      },
    })
  }

  watch(watched: StagesWatched): void {
    this.#watched = watched
  }

  durations(stage: StageName): Tally {
    return this.#seconds.tally({ stage })
  }

  /** What the gateway's own stages did with an invocation. */
  finished({ attempts, waitMs, totalMs, reservedTokens, refusal, flow }: Finished): void {
    if (reservedTokens > 0) this.#admit.observe(waitMs / 1000)
    if (attempts > 0) this.#send.observe(Math.max(0, totalMs - waitMs) / 1000)
    if (!refusal) return
    const rank = PRIORITIES.indexOf(flow.priority)
    if (refusal.code === 'overloaded') this.#refused.send[rank]! += 1
    else if (ADMISSION.has(refusal.code)) this.#refused.admit[rank]! += 1
  }

  text(withExemplars: boolean): string {
    return this.#seconds.text(withExemplars)
  }
}
