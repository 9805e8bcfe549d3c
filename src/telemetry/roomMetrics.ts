// How full it is and how the waiting rooms stand, of the models that the ledger told of at this scrape. Replicas that share a ledger tell the same.
import { Gauge, type Registry } from 'prom-client'
import type { LevelStatus } from '../domain/roomStatus.ts'
import type { ModelStatus } from '../gateway/ports.ts'

type SetGauge<L extends string> = (labels: Partial<Record<L, string | number>>, value: number) => void

/** Of this gateway itself, asked at each scrape. */
interface Own {
  inFlight: () => number
  /** Undefined: none has been learned. */
  learnedCapOf: (model: string) => number | undefined
}

/** `models` is asked at each scrape. */
export function registerRoomGauges(
  registry: Registry,
  models: () => Promise<ModelStatus[]>,
  { inFlight, learnedCapOf }: Own,
): void {
  const registers = [registry]
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    read: (model: ModelStatus, set: SetGauge<L>) => void,
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        const all = await models()
        // A model or a pool that a reload has removed has no series any more, or its alerts would not end.
        this.reset()
        for (const model of all) read(model, (labels, value) => this.set(labels, value))
      },
    })
  new Gauge({
    name: 'sluice_in_flight',
    help: 'Invocations accepted and not yet ended.',
    registers,
    collect() {
      this.set(inFlight())
    },
  })
  const byModel = (name: string, help: string, read: (status: ModelStatus) => number) =>
    gauge(name, help, ['model'], (status, set) => set({ model: status.model }, read(status)))
  byModel('sluice_ledger_degraded', '1 while this gateway is on its own with the model, without Redis.', one =>
    one.degraded === undefined ? 0 : 1,
  )
  byModel('sluice_gateways', 'Gateways that the ledger has heard of lately.', one => one.gateways)
  gauge('sluice_output_cap_tokens', 'The output cap learned last.', ['model'], ({ model }, set) => {
    const tokens = learnedCapOf(model)
    if (tokens !== undefined) set({ model }, tokens)
  })
  gauge('sluice_waiting', 'Invocations that wait for their turn.', ['model', 'priority'], ({ model, classes }, set) => {
    for (const { priority, waiting } of classes) set({ model, priority }, waiting)
  })
  gauge(
    'sluice_expected_wait_seconds',
    'How long who asks now would be likely to wait for a turn.',
    ['model', 'priority'],
    ({ model, classes }, set) => {
      for (const { priority, etaMs } of classes) set({ model, priority }, etaMs.p50 / 1000)
    },
  )
  gauge(
    'sluice_class_share',
    'Of all that was served of late, the part of each class.',
    ['model', 'priority'],
    ({ model, classes }, set) => {
      const all = classes.reduce((sum, one) => sum + one.servedPerS, 0)
      for (const { priority, servedPerS } of classes) set({ model, priority }, all > 0 ? servedPerS / all : 0)
    },
  )
  const byDimension = (name: string, help: string, read: (level: LevelStatus) => number) =>
    gauge(name, help, ['model', 'pool', 'dimension'], ({ model, pools }, set) => {
      for (const { pool, requests, tokens } of pools) {
        if (requests) set({ model, pool, dimension: 'requests' }, read(requests))
        if (tokens) set({ model, pool, dimension: 'tokens' }, read(tokens))
      }
    })
  byDimension('sluice_quota_per_minute', 'Quota, as believed.', level => level.quotaPerMinute)
  byDimension('sluice_bucket_level', 'What may pass at once; below zero: a debt.', level => level.level)
}
