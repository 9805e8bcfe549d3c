// Everything behind the front door: what sees an invocation through, from the book that is kept of it to Bedrock, each
// around the next: clients' limits, shared calls, fallbacks, output caps, the gateway.
import type { FarSideSettings } from './bedrock/farSide.ts'
import { createUpstream } from './bedrock/upstream.ts'
import type { Config } from './config/schema.ts'
import { InputEstimate } from './domain/estimate.ts'
import type { PoolSettings } from './domain/model.ts'
import type { AnswerStore } from './gateway/answerPorts.ts'
import { Book } from './gateway/book.ts'
import { Coalescer } from './gateway/coalescer.ts'
import { FallbackChain } from './gateway/fallbackChain.ts'
import { Gateway } from './gateway/gateway.ts'
import { Limited } from './gateway/limited.ts'
import type { AddressCounts } from './gateway/limitPorts.ts'
import type { Finished, Handler, Invocation, Ledger } from './gateway/ports.ts'
import { QuotaUse } from './gateway/quotaUse.ts'
import { RightSizer } from './gateway/rightSizer.ts'
import { Traced, type Tracer } from './gateway/traced.ts'
import { Unattended } from './gateway/unattended.ts'
import { buildLedger } from './ledgers.ts'
import type { LiveSettings } from './liveSettings.ts'
import { buildPushback, type Pushback } from './pushback.ts'
import { mockReply } from './simulator/mock.ts'
import { systemClock } from './system.ts'
import { type Logger, logFinished } from './telemetry/log.ts'
import { Metrics } from './telemetry/metrics.ts'
import { VERSION } from './version.ts'
import { regionInPath } from './wire/arn.ts'

export interface Core {
  book: Book
  ledger: Ledger
  /** Absent: there are no other replicas to count with. */
  addresses: AddressCounts | undefined
  /** Where the ledger is shared, without secrets. */
  redis: string | undefined
  metrics: Metrics
  pushback: Pushback
  takeModels(config: Config): void
  /** What stands in the way of signing calls to a pool; undefined: nothing. */
  troubleOf(pool: PoolSettings): Promise<string | undefined>
  unattended: Unattended
  close(): Promise<void>
}

export async function buildCore(
  config: Config,
  live: LiveSettings,
  log: Logger,
  farSide: FarSideSettings,
  tracer: Tracer | undefined,
): Promise<Core> {
  const metrics: Metrics = new Metrics(
    () => ledger.status(),
    () => book.inFlight,
    true,
    () => systemClock.nowMs(),
  )
  metrics.process.built(VERSION)
  metrics.process.configTaken(systemClock.nowMs())
  const { ledger, limits, addresses, answers, flights, redis, close } = await buildLedger(config, log, metrics)
  const upstream = createUpstream({ ...config.upstream, ...farSide }, systemClock)
  const estimates = new Map(config.models.map(model => [model.name, new InputEstimate(model.bytesPerToken)]))
  const pushback = buildPushback(config, live, ledger, log, metrics)
  const unattended = new Unattended(config.upstream.maxUnattended, systemClock)
  metrics.process.watchUnattended(() => unattended.size)
  const gateway = new Gateway({
    ...pushback.parts,
    unattended,
    ledger,
    upstream,
    clock: systemClock,
    estimates,
    weightOf: client => live.clientOf(client).weight,
    poolOf: (model, pool) => live.poolOf(model, pool),
    unmeteredPool: invocation => poolForRegionOf(invocation, live.pools()),
  })
  const finished = (run: Finished) => {
    metrics.finished(run)
    logFinished(log, run)
  }
  const rightSizer = buildRightSizer(gateway, ledger, metrics)
  const fallbacks = buildFallbacks(rightSizer, { config, live, answers, log, metrics, finished })
  const coalescer = new Coalescer({ inner: fallbacks, clock: systemClock, flights })
  const limited = new Limited({
    inner: coalescer,
    limits,
    limitsOf: client => live.limitsOf(client),
    capOf: invocation => rightSizer.capOf(invocation),
    estimates,
    clock: systemClock,
    onRefusal: (client, limit) => metrics.limitRefused(client, limit),
  })
  const book = new Book(tracer ? new Traced(limited, tracer) : limited, { finished })
  return {
    book,
    ledger,
    addresses,
    redis,
    metrics,
    pushback,
    takeModels({ models, admission, breaker }) {
      for (const { name, bytesPerToken } of models)
        if (!estimates.has(name)) estimates.set(name, new InputEstimate(bytesPerToken))
      ledger.configure(models, { ...admission, failures: breaker.failures })
      limits.keep(live.limitedClients())
      metrics.process.configTaken(systemClock.nowMs())
    },
    troubleOf: pool => upstream.trouble(pool),
    unattended,
    async close() {
      pushback.close()
      await close()
      await upstream.close()
    },
  }
}

function buildRightSizer(handler: Handler, ledger: Ledger, metrics: Metrics): RightSizer {
  const use = new QuotaUse(() => ledger.status(), systemClock)
  return new RightSizer({
    handler,
    useOf: model => use.of(model),
    capped: (model, kind, tokens) => metrics.outputCapped(model, kind, tokens),
  })
}

interface FallbackNeeds {
  config: Config
  live: LiveSettings
  answers: AnswerStore
  log: Logger
  metrics: Metrics
  finished: (run: Finished) => void
}

function buildFallbacks(
  inner: Handler,
  { config, live, answers, log, metrics, finished }: FallbackNeeds,
): FallbackChain {
  return new FallbackChain({
    inner,
    clock: systemClock,
    answers,
    stale: config.stale,
    mock: ({ id, request }, text) =>
      mockReply({ ...request, modelId: request.modelId ?? '', requestId: id, nowMs: systemClock.nowMs() }, text),
    modelNamed: name => live.modelNamed(name),
    rescued: finished,
    fellBack(event) {
      metrics.fellBack(event)
      log.info(event, 'fallback')
    },
  })
}

/** Guardrails, async invocations and inference profiles name a Region in their ARN, or none: then the first pool's. */
function poolForRegionOf(invocation: Invocation, pools: PoolSettings[]): PoolSettings {
  const wanted = regionInPath(invocation.request.rawUrl)
  return pools.find(pool => pool.region === wanted) ?? pools[0]!
}
