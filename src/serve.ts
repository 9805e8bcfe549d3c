// The composition root: config → adapters → gateway → server; start, drain, stop.
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { networksOf } from './config/ingressSchema.ts'
import type { Config } from './config/schema.ts'
import { NO_SECRETS, type Secrets } from './config/secrets.ts'
import { buildCore, type Core } from './core.ts'
import type { RefusalCode } from './domain/refusal.ts'
import type { Book } from './gateway/book.ts'
import { buildApp } from './http/app.ts'
import { ClientAddress } from './http/clientAddress.ts'
import type { DataPlaneParts } from './http/dataPlane.ts'
import { Doorkeeper } from './http/doorkeeper.ts'
import { IngressGuard } from './http/ingressGuard.ts'
import { REFUSAL_SHAPES } from './http/refusals.ts'
import type { Identities } from './identity/who.ts'
import { LiveIdentities } from './liveIdentities.ts'
import { fixedSettings, type LiveSettings, liveSettings } from './liveSettings.ts'
import { readiness, statusOf } from './operatorViews.ts'
import { startOwnSimulator } from './ownSimulator.ts'
import type { RunningSimulator } from './simulator/server.ts'
import { type BuiltStages, buildStages } from './stages.ts'
import { newId, systemClock } from './system.ts'
import { type Logger, logRefused } from './telemetry/log.ts'
import { startTracing, type Tracing } from './telemetry/tracing.ts'
import type { OnePortOptions } from './transport/onePort.ts'
import { VERSION } from './version.ts'

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
  /** By pool, why calls to it could not be signed now; empty when all could. */
  troubles(): Promise<Map<string, string>>
  /** Whoever watches the metrics hears that a changed config was faulty. */
  notReloaded(): void
  /**
   * Stops accepting, lets what is in flight finish for at most `graceMs`, then cuts it. Resolves with how many were cut.
   */
  stop(graceMs: number): Promise<number>
}

export interface Environment {
  /** AWS_BEARER_TOKEN_BEDROCK */
  bearerToken?: string | undefined
  /** The process's environment, whose OTEL_* say whether and how to trace; absent: nothing is traced. */
  otel?: NodeJS.ProcessEnv
  /** What the config names and does not hold. */
  secrets?: Secrets
}

export async function startSluice(config: Config, log: Logger, environment: Environment = {}): Promise<Sluice> {
  const address = new ClientAddress(networksOf(config.server.trustedProxies))
  const port = portOptions(config, address)
  const simulator = await startOwnSimulator(config)
  const live = liveSettings(config)
  const tracing = await traced(environment, log)
  const farSide = { simulatorUrl: simulator?.url, bearerToken: environment.bearerToken }
  const core = await buildCore(config, live, log, farSide, tracing?.tracer)
  const { ledger, metrics } = core
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
    dataPlane: doorOf(config, core, { live, identities, address }, stages, log),
    readiness: () => readiness(draining, ledger, stages),
    status: () => statusOf(core, live, stages),
    metrics: accept => metrics.scrape(accept),
    fault,
  })
  try {
    await app.listen({ host: config.server.host, port: config.server.port })
  } catch (error) {
    // A start that failed must leave nothing behind that keeps the process alive.
    await close(core, stages, simulator, tracing)
    throw error
  }
  const { port: boundPort } = app.server.address() as AddressInfo
  return {
    url: `${config.server.tls ? 'https' : 'http'}://${urlHost(config.server.host)}:${boundPort}`,
    simulatorUrl: simulator?.url,
    redis: core.redis,
    reload(next, secrets = environment.secrets ?? NO_SECRETS) {
      live.take(next)
      identities.take(next, secrets)
      core.takeModels(next)
      // With what it started with: the config loaded last holds settings that never took effect.
      return fixedSettings(config, next)
    },
    troubles: () => troublesOf(core, live),
    notReloaded: () => metrics.process.configFaulty(),
    async stop(graceMs) {
      draining = true
      const cut = await drain(app, core, graceMs)
      await close(core, stages, simulator, tracing)
      return cut
    },
  }
}

function traced({ otel = {} }: Environment, log: Logger): Promise<Tracing | undefined> {
  const statusOf = (code: RefusalCode) => REFUSAL_SHAPES[code].status
  return startTracing(otel, { log, clock: systemClock, version: VERSION, instanceId: newId(), statusOf })
}

async function troublesOf(core: Core, live: LiveSettings): Promise<Map<string, string>> {
  const pools = live.pools()
  const found = await Promise.all(pools.map(pool => core.troubleOf(pool)))
  return new Map(pools.flatMap(({ name }, i) => (found[i] === undefined ? [] : [[name, found[i]] as const])))
}

function doorOf(
  { ingress, server }: Config,
  { book, metrics, addresses }: Core,
  { live, identities, address }: { live: LiveSettings; identities: Identities; address: ClientAddress },
  stages: BuiltStages,
  log: Logger,
): DataPlaneParts {
  const { maxBodyBytes, stallTimeoutMs } = server
  const guard = new IngressGuard({
    requestsPerMinute: ingress.requestsPerMinute,
    failedIdentitiesPerMinute: ingress.failedIdentitiesPerMinute,
    asks: () => live.config.auth.mode !== 'open',
    shared: addresses,
    clock: systemClock,
  })
  return {
    book,
    newId,
    findModel: modelId => live.findModel(modelId),
    doorkeeper: new Doorkeeper({ address, guard, identities, clientOf: name => live.clientOf(name) }),
    maxWaitMs: priority => live.config.admission.maxWaitMs[priority],
    clientsShare: () => live.config.auth.mode !== 'open' && live.config.clients.length > 1,
    maxBodyBytes,
    stallTimeoutMs,
    clock: systemClock,
    ...stages.door,
    refused(refusal, operation, requestId) {
      metrics.refused(refusal, operation)
      logRefused(log, refusal, operation, requestId)
    },
  }
}

/**
 * Resolves once the server has closed, or once the grace is over and every connection has been destroyed; and, within the same
 * grace, once the calls without a client have ended. Gives how many clients were cut.
 */
async function drain(app: ReturnType<typeof buildApp>, { book, unattended }: Core, graceMs: number): Promise<number> {
  const startedMs = systemClock.nowMs()
  let cut = 0
  const cancel = systemClock.after(graceMs, () => {
    cut = book.inFlight - unattended.size
    app.server.closeAllConnections()
  })
  await app.close()
  cancel()
  await unattended.close(Math.max(0, startedMs + graceMs - systemClock.nowMs()))
  await settled(book)
  return cut
}

const LONGEST_SETTLING_MS = 1_000

/** What was cut has still to be settled and written down, with nobody to wait for. */
async function settled(book: Book): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const cancel = systemClock.after(LONGEST_SETTLING_MS, resolve)
  await Promise.race([book.idle(), late])
  cancel()
}

async function close(
  core: Core,
  stages: BuiltStages,
  simulator: RunningSimulator | undefined,
  tracing: Tracing | undefined,
): Promise<void> {
  await stages.close()
  await core.close()
  await simulator?.close()
  await tracing?.close()
}

function portOptions(config: Config, address: ClientAddress): OnePortOptions {
  const { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, maxHeaderBytes, maxConnections, tls } = config.server
  const most = config.ingress.connectionsPerAddress
  const limits = {
    ...(most && { perAddress: { most, countedAs: (peer: string) => address.countedPeer(peer) } }),
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
