#!/usr/bin/env node
// The command line: sluice [serve] | check | simulator | key new.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type FilesRead, type Loaded, loadConfig, parseConfigFile } from './config/file.ts'
import type { Config } from './config/schema.ts'
import { ConfigWatch } from './config/watch.ts'
import { newKeyText } from './identity/newKey.ts'
import { simulatorSettings } from './ownSimulator.ts'
import { type Sluice, startSluice } from './serve.ts'
import { startSimulator } from './simulator/server.ts'
import { secretBytes, systemClock } from './system.ts'
import { createLog, LOG_LEVELS, type Logger } from './telemetry/log.ts'
import { boundReadBuffers } from './transport/readBuffers.ts'

const USAGE = `sluice [serve] [--config FILE]            start the proxy
sluice check [--config FILE]              list every fault of a config; exit 1 if there is one
sluice simulator [--port N] [--config FILE]   start the Bedrock simulator alone
sluice key new [--client NAME] [--sigv4]  make a key for a client; it is shown this once, the config gets its hash

FILE defaults to $SLUICE_CONFIG, else config/local.yaml. Environment: HOST, PORT, TRUSTED_PROXIES, REDIS_URL,
LOG_LEVEL, OTEL_* for tracing, AWS's own for credentials.`

const LOCAL_CONFIG = fileURLToPath(new URL('../config/local.yaml', import.meta.url))
const SIMULATOR_PORT = 8081
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** The message is for the person at the terminal; no stack is shown. */
class UsageError extends Error {}

interface Options {
  command: string
  file: string
  port: number | undefined
  client: string
  isSigV4: boolean
}

function readOptions(args: string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      config: { type: 'string' },
      port: { type: 'string' },
      client: { type: 'string' },
      sigv4: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return undefined
  const command = positionals.join(' ')
  if (positionals.length > 1 && command !== 'key new') throw new UsageError(`expected one command, found: ${command}`)
  if (values.port !== undefined && !/^\d{1,5}$/.test(values.port)) {
    throw new UsageError(`--port: expected a port, found ${values.port}`)
  }
  if (values.client !== undefined && !/^[\w.:-]{1,64}$/.test(values.client)) {
    throw new UsageError(`--client: expected letters, digits, and . _ : -, at most 64, found ${values.client}`)
  }
  return {
    command: command || 'serve',
    file: values.config ?? (process.env.SLUICE_CONFIG || LOCAL_CONFIG),
    port: values.port === undefined ? undefined : Number(values.port),
    client: values.client ?? 'my-app',
    isSigV4: values.sigv4 ?? false,
  }
}

async function run(args: string[]): Promise<void> {
  const options = readOptions(args)
  if (!options) console.log(USAGE)
  else if (options.command === 'serve') await serve(options)
  else if (options.command === 'check') check(options)
  else if (options.command === 'simulator') await simulator(options)
  else if (options.command === 'key new') console.log(newKeyText(options.client, options.isSigV4, secretBytes))
  else throw new UsageError(`expected serve, check, simulator or key new, found ${options.command}`)
}

/** Throws with every fault. */
function load(file: string): Extract<Loaded, { kind: 'ok' }> {
  const loaded = loadConfig(file, process.env)
  if (loaded.kind === 'ok') return loaded
  throw new UsageError(loaded.faults.join('\n'))
}

function check({ file }: Options): void {
  const { models } = load(file).config
  const pools = models.reduce((count, model) => count + model.pools.length, 0)
  console.log(`${file}: no faults; ${models.length} models, ${pools} pools`)
}

async function serve({ file }: Options): Promise<void> {
  const hangUps = keepHangUps()
  const { config, secrets, files } = load(file)
  const log = createLog(logLevel())
  boundReadBuffers()
  const bearerToken = process.env.AWS_BEARER_TOKEN_BEDROCK
  let started: Sluice | undefined
  // While it starts nothing is in flight: there is nothing to wait for.
  stopOnSignals(async graceMs => started?.stop(graceMs) ?? 0, config.server.drainMs, log)
  const sluice = await startSluice(config, log, { bearerToken, secrets, otel: process.env }).catch(startFault)
  started = sluice
  const ends = upstreams(config, sluice)
  const ledger = config.redis ? `Redis at ${sluice.redis}` : 'in memory'
  log.info({ url: sluice.url, config: file, ledger, upstream: ends }, 'listening')
  warnOfUnread(config, log)
  void warnAtStart(sluice, config, log)
  console.error(welcome(sluice.url, config, ledger, ends))
  hangUps(reloader(sluice, file, files, config.server.watchConfig, log))
}

/** A SIGHUP ends nobody: one that comes before there is anything to reload waits for it. */
function keepHangUps(): (reload: () => void) => void {
  let hasCome = false
  let onHangUp = () => {
    hasCome = true
  }
  process.on('SIGHUP', () => onHangUp())
  return reload => {
    onHangUp = reload
    if (hasCome) reload()
  }
}

function reloader(sluice: Sluice, file: string, files: FilesRead, isWatched: boolean, log: Logger): () => void {
  const reload = () => reloadConfig(sluice, file, log)
  if (!isWatched) return reload
  const watch = new ConfigWatch({ clock: systemClock, read: path => readFile(path, 'utf8'), reload }, files)
  return () => watch.reload()
}

/** A faulty config changes nothing: what runs goes on with what it has. */
function reloadConfig(sluice: Sluice, file: string, log: Logger): FilesRead {
  const loaded = loadConfig(file, process.env)
  if (loaded.kind === 'faulty') {
    sluice.notReloaded()
    log.error({ config: file, faults: loaded.faults }, 'config not reloaded: the old one stays')
    return loaded.files
  }
  try {
    const needRestart = sluice.reload(loaded.config, loaded.secrets)
    log.info({ config: file, ...(needRestart.length > 0 && { needRestart }) }, 'config reloaded')
    warnOfUnread(loaded.config, log)
  } catch (error) {
    // A fault of ours must not end what serves.
    sluice.notReloaded()
    log.error({ config: file, error: (error as Error).stack }, 'config not reloaded')
  }
  return loaded.files
}

/** Whoever gave clients keys may believe that keys are asked for. */
function warnOfUnread({ auth, clients }: Config, log: Logger): void {
  if (auth.mode === 'keys' || !clients.some(({ keySha256, sigv4 }) => keySha256 || sigv4)) return
  log.warn('auth.mode is open: clients have keys, and nobody is asked for one')
}

/** What the first call would fail of, and what the config leaves open, is said before the first call. */
async function warnAtStart(sluice: Sluice, { auth, server }: Config, log: Logger): Promise<void> {
  if (auth.mode === 'open' && !LOOPBACK.has(server.host))
    log.warn({ host: server.host }, 'auth.mode is open: whoever reaches this address spends the quota')
  for (const [pool, trouble] of await sluice.troubles()) log.warn({ pool, trouble }, 'calls to this pool will fail')
}

/** A port that is taken or not ours, a certificate that can't be read: for the person at the terminal, without a stack. */
function startFault(error: unknown): never {
  if (error instanceof Error && 'syscall' in error) throw new UsageError(`could not start: ${error.message}`)
  throw error
}

/** For the person who started it; the log says the same to machines. */
function welcome(url: string, { auth }: Config, ledger: string, ends: string[]): string {
  const body = '{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}'
  const key = auth.mode === 'keys' ? " -H 'x-api-key: YOUR-KEY'" : ''
  return `
  Sluice listens on ${url}
  clients   ${auth.mode === 'keys' ? 'those with a credential (auth.mode: keys)' : 'everybody who can reach it (auth.mode: open)'}
  ledger    ${ledger}
  upstream  ${ends.join(', ')}
  try       curl ${url}/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse${key} -H 'content-type: application/json' -d '${body}'
`
}

function upstreams(config: Config, sluice: Sluice): string[] {
  const ends = config.models.flatMap(model =>
    model.pools.map(pool => {
      if (pool.endpoint === 'simulator') return `simulator at ${sluice.simulatorUrl}`
      return pool.endpoint ?? `Bedrock in ${pool.region}`
    }),
  )
  return [...new Set(ends)]
}

async function simulator({ file, port }: Options): Promise<void> {
  const parsed = parseConfigFile(file, process.env)
  if (parsed.kind === 'faulty') throw new UsageError(parsed.faults.join('\n'))
  const { config } = parsed
  const log = createLog(logLevel())
  const running = await startSimulator({
    settings: simulatorSettings(config),
    clock: systemClock,
    host: config.server.host,
    port: port ?? SIMULATOR_PORT,
  })
  log.info({ url: running.url, config: file, admin: `${running.url}/_simulator` }, 'simulator listening')
  stopOnSignals(() => running.close().then(() => 0), 0, log)
}

function logLevel(): string {
  const level = process.env.LOG_LEVEL || 'info'
  if (!LOG_LEVELS.includes(level))
    throw new UsageError(`LOG_LEVEL: expected one of ${LOG_LEVELS.join(', ')}, found ${level}`)
  return level
}

/** The first SIGTERM or SIGINT drains and exits 0; a second one does not wait. */
function stopOnSignals(stop: (graceMs: number) => Promise<number>, graceMs: number, log: Logger): void {
  let stopping = false
  const onSignal = (signal: string) => {
    if (stopping) process.exit(1)
    stopping = true
    log.info({ signal, graceMs }, 'stopping')
    stop(graceMs).then(cut => {
      log.info({ cut }, 'stopped')
      log.flush(() => process.exit(0))
    })
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
}

run(process.argv.slice(2)).catch(error => {
  const isForTheUser = error instanceof UsageError || error?.code?.startsWith?.('ERR_PARSE_ARGS')
  console.error(isForTheUser ? error.message : error)
  process.exitCode = 1
})
