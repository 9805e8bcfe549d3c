// The composition root: config → adapters → gateway → server; start, drain, stop.
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { type FarSideSettings, SIMULATOR } from './bedrock/farSide.ts'
import { createUpstream } from './bedrock/upstream.ts'
import type { Config } from './config/schema.ts'
import { InputEstimate } from './domain/estimate.ts'
import type { PoolSettings } from './domain/model.ts'
import { Book } from './gateway/book.ts'
import { Gateway } from './gateway/gateway.ts'
import { Limited } from './gateway/limited.ts'
import type { Invocation, Ledger } from './gateway/ports.ts'
import { buildApp, type Readiness } from './http/app.ts'
import { buildLedger } from './ledgers.ts'
import { fixedSettings, type LiveSettings, liveSettings } from './liveSettings.ts'
import { type RunningSimulator, startSimulator } from './simulator/server.ts'
import type { SimulatorSettings } from './simulator/settings.ts'
import { newId, systemClock } from './system.ts'
import { type Logger, logFinished } from './telemetry/log.ts'
import { Metrics } from './telemetry/metrics.ts'

export interface Sluice {
  url: string
  /** The built-in simulator's, when a pool uses it. */
  simulatorUrl: string | undefined
  /** Where the ledger is shared, without secrets. */
  redis: string | undefined
  /**
   * Takes over what may change while it runs: models, pools and quotas, clients, admission. Levels, waiters and what is
   * in flight stay. Returns the other settings that differ: those take a restart.
   */
  reload(config: Config): string[]
  /**
   * Stops accepting, lets what is in flight finish for at most `graceMs`, then cuts it. Resolves with how many were cut.
   */
  stop(graceMs: number): Promise<number>
}

export interface Environment {
  /** AWS_BEARER_TOKEN_BEDROCK */
  bearerToken?: string | undefined
}

export async function startSluice(config: Config, log: Logger, environment: Environment = {}): Promise<Sluice> {
  const port = portOptions(config)
  const usesSimulator = config.models.some(model => model.pools.some(pool => pool.endpoint === SIMULATOR))
  const simulator = usesSimulator ? await startOwnSimulator(config) : undefined
  const live = liveSettings(config)
  const core = await buildCore(config, live, log, {
    simulatorUrl: simulator?.url,
    bearerToken: environment.bearerToken,
  })
  const { book, ledger, metrics } = core
  let draining = false
  const app = buildApp({
    port,
    dataPlane: {
      book,
      newId,
      findModel: modelId => live.findModel(modelId),
      clientOf: name => live.clientOf(name),
      maxWaitMs: priority => live.config.admission.maxWaitMs[priority],
      maxBodyBytes: config.server.maxBodyBytes,
      stallTimeoutMs: config.server.stallTimeoutMs,
      clock: systemClock,
      refused(refusal, operation, requestId) {
        metrics.refused(refusal, operation)
        log.info({ requestId, operation, refusal: refusal.code }, 'refused')
      },
    },
    readiness: () => readiness(draining, ledger),
    status: () => statusOf(ledger, book),
    metrics: () => metrics.scrape(),
    fault: error => log.error({ error: faultText(error) }, 'fault'),
  })
  try {
    await app.listen({ host: config.server.host, port: config.server.port })
  } catch (error) {
    // A start that failed must leave nothing behind that keeps the process alive.
    await close(core, simulator)
    throw error
  }
  const { port: boundPort } = app.server.address() as AddressInfo
  return {
    url: `${config.server.tls ? 'https' : 'http'}://${urlHost(config.server.host)}:${boundPort}`,
    simulatorUrl: simulator?.url,
    redis: core.redis,
    reload(next) {
      const fixed = fixedSettings(live.config, next)
      live.take(next)
      core.takeModels(next)
      return fixed
    },
    async stop(graceMs) {
      draining = true
      const cut = await drain(app, book, graceMs)
      await close(core, simulator)
      return cut
    },
  }
}

interface Core {
  book: Book
  ledger: Ledger
  redis: string | undefined
  metrics: Metrics
  takeModels(config: Config): void
  close(): Promise<void>
}

/** Everything behind the front door. */
async function buildCore(config: Config, live: LiveSettings, log: Logger, farSide: FarSideSettings): Promise<Core> {
  const metrics: Metrics = new Metrics(
    () => ledger.status(),
    () => book.inFlight,
  )
  const { ledger, limits, redis, close } = await buildLedger(config, log, metrics)
  const upstream = createUpstream({ ...config.upstream, ...farSide }, systemClock)
  const estimates = new Map(config.models.map(model => [model.name, new InputEstimate(model.bytesPerToken)]))
  const gateway = new Gateway({
    ledger,
    upstream,
    clock: systemClock,
    estimates,
    weightOf: client => live.clientOf(client).weight,
    poolOf: (model, pool) => live.poolOf(model, pool),
    unmeteredPool: invocation => poolForRegionOf(invocation, live.pools()),
  })
  const limited = new Limited({
    inner: gateway,
    limits,
    limitsOf: client => live.limitsOf(client),
    estimates,
    clock: systemClock,
    onRefusal: (client, limit) => metrics.limitRefused(client, limit),
  })
  const book = new Book(limited, {
    finished(run) {
      metrics.finished(run)
      logFinished(log, run)
    },
  })
  return {
    book,
    ledger,
    redis,
    metrics,
    takeModels({ models, admission }) {
      for (const { name, bytesPerToken } of models)
        if (!estimates.has(name)) estimates.set(name, new InputEstimate(bytesPerToken))
      ledger.configure(models, admission)
      limits.keep(live.limitedClients())
    },
    async close() {
      await close()
      await upstream.close()
    },
  }
}

/** Resolves once the server has closed, or once the grace is over and every connection has been destroyed. */
async function drain(app: ReturnType<typeof buildApp>, book: Book, graceMs: number): Promise<number> {
  let cut = 0
  const cancel = systemClock.after(graceMs, () => {
    cut = book.inFlight
    app.server.closeAllConnections()
  })
  await app.close()
  cancel()
  return cut
}

async function close(core: Core, simulator: RunningSimulator | undefined): Promise<void> {
  await core.close()
  await simulator?.close()
}

function portOptions(config: Config) {
  const { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, maxHeaderBytes, tls } = config.server
  const limits = { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, maxHeaderBytes, clock: systemClock }
  if (!tls) return limits
  return { ...limits, tls: { cert: readFileSync(tls.certFile, 'utf8'), key: readFileSync(tls.keyFile, 'utf8') } }
}

/** Guardrails, async invocations and inference profiles name a Region in their ARN, or none: then the first pool's. */
function poolForRegionOf(invocation: Invocation, pools: PoolSettings[]): PoolSettings {
  const region = /arn%3Aaws[^/]*?%3Abedrock%3A([a-z0-9-]+)|arn:aws[^/]*?:bedrock:([a-z0-9-]+)/i.exec(
    invocation.request.rawUrl,
  )
  const wanted = region?.[1] ?? region?.[2]
  return pools.find(pool => pool.region === wanted) ?? pools[0]!
}

function readiness(draining: boolean, ledger: Ledger): Readiness {
  const { kind, degraded } = ledger.health()
  const part = degraded === undefined ? kind : `${kind}, degraded: ${degraded}`
  return { status: draining ? 'draining' : degraded === undefined ? 'ready' : 'degraded', parts: { ledger: part } }
}

async function statusOf(ledger: Ledger, book: Book): Promise<object> {
  return { ledger: ledger.health(), inFlight: book.inFlight, models: await ledger.status() }
}

/** A fault's stack, never its properties: those may hold a request. */
function faultText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

function startOwnSimulator(config: Config): Promise<RunningSimulator> {
  return startSimulator({ settings: simulatorSettings(config), clock: systemClock, host: '127.0.0.1', port: 0 })
}

/** Without quotas of its own the simulator enforces those of the pools that use it. */
export function simulatorSettings(config: Config): SimulatorSettings {
  const { quotas, ...rest } = config.simulator
  return { ...rest, quotas: quotas ?? poolQuotas(config) }
}

function poolQuotas(config: Config): SimulatorSettings['quotas'] {
  return config.models.flatMap(model =>
    model.pools
      .filter(pool => pool.endpoint === SIMULATOR)
      .map(({ region, modelId, requestsPerMinute, tokensPerMinute }) => ({
        modelIds: modelId === undefined ? model.modelIds : [modelId],
        region,
        outputBurndown: model.outputBurndown,
        maxOutputTokens: model.maxOutputTokens,
        ...(requestsPerMinute !== undefined && { requestsPerMinute }),
        ...(tokensPerMinute !== undefined && { tokensPerMinute }),
      })),
  )
}
