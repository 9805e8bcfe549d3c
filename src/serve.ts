// The composition root: config → adapters → gateway → server; start, drain, stop.
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { Config } from './config/schema.ts'
import { buildCore, type Core } from './core.ts'
import type { Book } from './gateway/book.ts'
import { buildApp } from './http/app.ts'
import type { DataPlaneParts } from './http/dataPlane.ts'
import { Doorkeeper } from './http/doorkeeper.ts'
import type { Identities } from './identity/who.ts'
import { LiveIdentities } from './liveIdentities.ts'
import { fixedSettings, type LiveSettings, liveSettings } from './liveSettings.ts'
import { readiness, statusOf } from './operatorViews.ts'
import { startOwnSimulator } from './ownSimulator.ts'
import { NO_SECRETS, type Secrets } from './secrets.ts'
import type { RunningSimulator } from './simulator/server.ts'
import { type BuiltStages, buildStages } from './stages.ts'
import { newId, systemClock } from './system.ts'
import type { Logger } from './telemetry/log.ts'

export interface Sluice {
  url: string
  /** The built-in simulator's, when a pool uses it. */
  simulatorUrl: string | undefined
  /** Where the ledger is shared, without secrets. */
  redis: string | undefined
  /**
   * Takes over what may change while it runs: models, pools and quotas, clients and who they are, admission, retries. Levels,
   * waiters and what is in flight stay. Returns the other settings that differ: those take a restart.
   */
  reload(config: Config, secrets?: Secrets): string[]
  /**
   * Stops accepting, lets what is in flight finish for at most `graceMs`, then cuts it. Resolves with how many were cut.
   */
  stop(graceMs: number): Promise<number>
}

export interface Environment {
  /** AWS_BEARER_TOKEN_BEDROCK */
  bearerToken?: string | undefined
  /** What the config names and does not hold. */
  secrets?: Secrets
}

export async function startSluice(config: Config, log: Logger, environment: Environment = {}): Promise<Sluice> {
  const port = portOptions(config)
  const simulator = await startOwnSimulator(config)
  const live = liveSettings(config)
  const core = await buildCore(config, live, log, {
    simulatorUrl: simulator?.url,
    bearerToken: environment.bearerToken,
  })
  const { book, ledger, metrics } = core
  const identities = new LiveIdentities(config, environment.secrets ?? NO_SECRETS, systemClock, log)
  const fault = (error: unknown) => log.error({ error: faultText(error) }, 'fault')
  const stages = buildStages(
    config,
    { ledger, sends: core.pushback.parts.sends },
    { maxWaiting: () => live.config.admission.maxWaiting, identifying: () => identities.reading() },
    metrics.stages,
    fault,
  )
  let draining = false
  const app = buildApp({
    port,
    dataPlane: doorOf(core, live, identities, stages, log),
    readiness: () => readiness(draining, ledger, stages),
    status: () => statusOf(core, live, stages),
    metrics: () => metrics.scrape(),
    fault,
  })
  try {
    await app.listen({ host: config.server.host, port: config.server.port })
  } catch (error) {
    // A start that failed must leave nothing behind that keeps the process alive.
    await close(core, stages, simulator)
    throw error
  }
  const { port: boundPort } = app.server.address() as AddressInfo
  return {
    url: `${config.server.tls ? 'https' : 'http'}://${urlHost(config.server.host)}:${boundPort}`,
    simulatorUrl: simulator?.url,
    redis: core.redis,
    reload(next, secrets = NO_SECRETS) {
      const fixed = fixedSettings(live.config, next)
      live.take(next)
      identities.take(next, secrets)
      core.takeModels(next)
      return fixed
    },
    async stop(graceMs) {
      draining = true
      const cut = await drain(app, book, graceMs)
      await close(core, stages, simulator)
      return cut
    },
  }
}

function doorOf(
  { book, metrics }: Core,
  live: LiveSettings,
  identities: Identities,
  stages: BuiltStages,
  log: Logger,
): DataPlaneParts {
  const { maxBodyBytes, stallTimeoutMs } = live.config.server
  return {
    book,
    newId,
    findModel: modelId => live.findModel(modelId),
    doorkeeper: new Doorkeeper({ identities, clientOf: name => live.clientOf(name) }),
    maxWaitMs: priority => live.config.admission.maxWaitMs[priority],
    maxBodyBytes,
    stallTimeoutMs,
    clock: systemClock,
    ...stages.door,
    refused(refusal, operation, requestId) {
      metrics.refused(refusal, operation)
      log.info({ requestId, operation, refusal: refusal.code }, 'refused')
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

async function close(core: Core, stages: BuiltStages, simulator: RunningSimulator | undefined): Promise<void> {
  await stages.close()
  await core.close()
  await simulator?.close()
}

function portOptions(config: Config) {
  const { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, maxHeaderBytes, maxConnections, tls } = config.server
  const limits = {
    headersTimeoutMs,
    requestTimeoutMs,
    idleTimeoutMs,
    maxHeaderBytes,
    maxConnections,
    clock: systemClock,
  }
  if (!tls) return limits
  return { ...limits, tls: { cert: readFileSync(tls.certFile, 'utf8'), key: readFileSync(tls.keyFile, 'utf8') } }
}

/** A fault's stack, never its properties: those may hold a request. */
function faultText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
