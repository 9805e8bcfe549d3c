// Metrics to which everything has happened that can: every metric has a sample, and every label each value that the code can
// give it. What documents, dashboards and alert rules say is compared with it.
import { PRIORITIES } from '../../src/domain/model.ts'
import type { RefusalCode } from '../../src/domain/refusal.ts'
import type { PoolStanding } from '../../src/domain/steering.ts'
import type { Finished, ModelStatus } from '../../src/gateway/ports.ts'
import { STAGES } from '../../src/gateway/stage.ts'
import { REFUSAL_SHAPES } from '../../src/http/refusals.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'

const OUTCOMES = ['answered', 'refused', 'rescued', 'aborted', 'cut'] as const
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'

export function finishedRun(part: Partial<Finished> = {}): Finished {
  return {
    id: 'id',
    operation: 'Converse',
    model: 'm',
    pool: 'p',
    flow: { priority: 'normal', client: 'open', user: 'u' },
    outcome: 'answered',
    status: 200,
    refusal: undefined,
    waitMs: 0,
    firstByteMs: 20,
    totalMs: 30,
    attempts: 1,
    throttledBy: [],
    reservedTokens: 10,
    chargedTokens: 5,
    usage: undefined,
    exception: undefined,
    retries: 0,
    fallback: undefined,
    coalesced: false,
    ...part,
  }
}

export function roomStatusOf(model = 'm', clients: ModelStatus['classes'][number]['clients'] = []): ModelStatus {
  const level = { quotaPerMinute: 600, burst: 30, level: 12 }
  return {
    model,
    waiting: 0,
    inFlight: 0,
    gateways: 1,
    settled: { reservedTokens: 0, chargedTokens: 0 },
    classes: PRIORITIES.map(priority => ({
      priority,
      waiting: clients.reduce((sum, one) => sum + one.waiting, 0),
      etaMs: { p50: 1500, p90: 3000 },
      servedPerS: 1,
      clients,
      flows: [],
    })),
    pools: [{ pool: 'p', isOpen: true, gate: 'open', requests: level, tokens: level, savedTokens: 0 }],
  }
}

/** With Node.js's own metrics beside ours. */
export function fullMetrics(): Metrics {
  const client = { client: 'open', weight: 1, waiting: 2, share: 1, weightShare: 1 }
  const metrics = new Metrics(
    async () => [roomStatusOf('m', [client])],
    () => 1,
  )
  metrics.process.built('1.2.3')
  metrics.process.configTaken(1_700_000_000_000)
  metrics.process.configFaulty()
  metrics.process.watchUnattended(() => 1)
  for (const outcome of OUTCOMES) metrics.finished(finishedRun({ outcome, traceId: TRACE_ID }))
  const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 1, cacheWriteTokens: 1 }
  for (const priority of PRIORITIES)
    metrics.finished(finishedRun({ usage, flow: { priority, client: 'open', user: 'u' }, coalesced: true }))
  for (const code of Object.keys(REFUSAL_SHAPES) as RefusalCode[]) {
    metrics.refused({ code, message: '' }, 'Converse')
    metrics.finished(finishedRun({ outcome: 'refused', status: undefined, refusal: { code, message: '' } }))
  }
  for (const status of [200, 400, 403, 408, 424, 429, 500, 502, 503, 504]) metrics.finished(finishedRun({ status }))
  metrics.finished(finishedRun({ attempts: 2, throttledBy: ['p'] }))
  metrics.retried({ model: 'm', pool: 'p', client: 'open', reservedTokens: 10, chargedTokens: 1 })
  for (const limit of ['requests', 'tokens', 'concurrent', 'models']) metrics.limitRefused('open', limit)
  for (const kind of ['stale', 'model', 'mock'] as const) metrics.fellBack({ model: 'm', kind, reason: 'no-pool-open' })
  for (const kind of ['learned', 'fixed', 'shrunk']) metrics.outputCapped('m', kind, 100)
  for (const isOk of [true, false]) metrics.ledgerCalled('m', 'settle', 1, isOk)
  watchStages(metrics)
  pushBack(metrics)
  return metrics
}

function watchStages(metrics: Metrics): void {
  for (const stage of STAGES) metrics.stages.durations(stage).observe(0.01)
  metrics.stages.watch({
    read: () => STAGES.map(stage => ({ stage, depth: 1, limit: 10 })),
    refused: { receive: [1, 1, 1], price: [0, 0, 1], 'event-loop': [0, 0, 1] },
    loopDelayMs: () => 1,
  })
}

export function poolStanding(pool = 'p'): PoolStanding {
  const pace = {
    configuredPerMinute: 600,
    believedPerMinute: 500,
    pacedPerMinute: 400,
    cuts: 1,
    quietS: 1,
    isBackingOff: false,
  }
  const evidence = { used: 1, ofBelieved: 0.5, ofConfigured: 0.4, limitedPart: 0.1, throttled: 1 }
  return {
    pool,
    pace: { requests: pace, tokens: pace },
    breaker: { state: 'closed', sinceMs: 0 },
    binding: { binds: 'tokens', overMs: 300_000, requests: evidence, tokens: evidence },
  }
}

function pushBack({ pushback }: Metrics): void {
  pushback.watch(async () => [{ model: 'm', leads: true, pools: [poolStanding()] }])
  for (const dimension of ['requests', 'tokens'] as const)
    pushback.happened('m', [{ kind: 'cut', pool: 'p', dimension, fromPerMinute: 600, toPerMinute: 500 }])
  for (const to of ['closed', 'ramping', 'half-open', 'shut'] as const)
    pushback.happened('m', [{ kind: 'breaker', pool: 'p', from: 'closed', to, reason: 'probe-failed' }])
  pushback.budgetRefused('m')
}

export interface Family {
  name: string
  type: string
  help: string
  /** By label name, the values it has; `le` of histograms not counted. */
  labels: Map<string, Set<string>>
  samples: number
}

/** By name. `text`: as a scrape has it. */
export function familiesOf(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  for (const [, name, help, type] of text.matchAll(/# HELP (\S+) (.*)\n# TYPE \S+ (\S+)/g))
    families.set(name!, { name: name!, help: help!, type: type!, labels: new Map(), samples: 0 })
  for (const [, sample, labels = ''] of text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const family = families.get(sample!) ?? families.get(sample!.replace(/_(bucket|sum|count)$/, ''))
    if (!family) throw new Error(`a sample of no metric: ${sample}`)
    family.samples += 1
    for (const [, label, value] of labels.matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g))
      if (label !== 'le') family.labels.set(label!, (family.labels.get(label!) ?? new Set()).add(value!))
  }
  return families
}
