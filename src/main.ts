#!/usr/bin/env node
// The command line: sluice [serve] | check | simulator.
import { accessSync, constants, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatFault, parseConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { simulatorSettings } from './ownSimulator.ts'
import { type Sluice, startSluice } from './serve.ts'
import { startSimulator } from './simulator/server.ts'
import { systemClock } from './system.ts'
import { createLog, LOG_LEVELS, type Logger } from './telemetry/log.ts'
import { boundReadBuffers } from './transport/readBuffers.ts'

const USAGE = `sluice [serve] [--config FILE]            start the proxy
sluice check [--config FILE]              list every fault of a config; exit 1 if there is one
sluice simulator [--port N] [--config FILE]   start the Bedrock simulator alone

FILE defaults to $SLUICE_CONFIG, else config/local.yaml. Environment: HOST, PORT, REDIS_URL, LOG_LEVEL, AWS's own for credentials.`

const LOCAL_CONFIG = fileURLToPath(new URL('../config/local.yaml', import.meta.url))
const SIMULATOR_PORT = 8081

/** The message is for the person at the terminal; no stack is shown. */
class UsageError extends Error {}

interface Options {
  command: string
  file: string
  port: number | undefined
}

function readOptions(args: string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { config: { type: 'string' }, port: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return undefined
  if (positionals.length > 1) throw new UsageError(`expected one command, found: ${positionals.join(' ')}`)
  if (values.port !== undefined && !/^\d{1,5}$/.test(values.port)) {
    throw new UsageError(`--port: expected a port, found ${values.port}`)
  }
  return {
    command: positionals[0] ?? 'serve',
    file: values.config ?? (process.env.SLUICE_CONFIG || LOCAL_CONFIG),
    port: values.port === undefined ? undefined : Number(values.port),
  }
}

async function run(args: string[]): Promise<void> {
  const options = readOptions(args)
  if (!options) console.log(USAGE)
  else if (options.command === 'serve') await serve(options)
  else if (options.command === 'check') check(options)
  else if (options.command === 'simulator') await simulator(options)
  else throw new UsageError(`expected serve, check or simulator, found ${options.command}`)
}

function load(file: string): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`${file}: expected a readable file, found ${(error as NodeJS.ErrnoException).code}`)
  }
  const result = parseConfig(text, file, process.env)
  if (result.kind === 'ok') return withReadableFiles(result.config, file)
  throw new UsageError(result.faults.map(formatFault).join('\n'))
}

/** What the config names must be there: `check` would be worth little if the start still failed. */
function withReadableFiles(config: Config, file: string): Config {
  const files: [string, string][] = Object.entries(config.server.tls ?? {}).map(([name, path]) => [
    `server.tls.${name}`,
    path,
  ])
  if (config.redis?.caFile) files.push(['redis.caFile', config.redis.caFile])
  const unreadable = files.filter(([, path]) => !isReadable(path))
  if (unreadable.length === 0) return config
  const faults = unreadable.map(
    ([name, path]) => `${file} ${name}: expected a readable file, found ${JSON.stringify(path)}`,
  )
  throw new UsageError(faults.join('\n'))
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

function check({ file }: Options): void {
  const { models } = load(file)
  const pools = models.reduce((count, model) => count + model.pools.length, 0)
  console.log(`${file}: no faults; ${models.length} models, ${pools} pools`)
}

async function serve({ file }: Options): Promise<void> {
  const config = load(file)
  const log = createLog(logLevel())
  boundReadBuffers()
  const bearerToken = process.env.AWS_BEARER_TOKEN_BEDROCK
  const starting = startSluice(config, log, { bearerToken, otel: process.env })
  stopOnSignals(async graceMs => (await starting).stop(graceMs), config.server.drainMs, log)
  const sluice = await starting.catch(startFault)
  process.on('SIGHUP', () => reload(sluice, file, log))
  const ends = upstreams(config, sluice)
  const ledger = config.redis ? `Redis at ${sluice.redis}` : 'in memory'
  log.info({ url: sluice.url, config: file, ledger, upstream: ends }, 'listening')
  console.error(welcome(sluice.url, ledger, ends))
}

/** A faulty config changes nothing: what runs goes on with what it has. */
function reload(sluice: Sluice, file: string, log: Logger): void {
  try {
    const needRestart = sluice.reload(load(file))
    log.info({ config: file, ...(needRestart.length > 0 && { needRestart }) }, 'config reloaded')
  } catch (error) {
    const faults = (error as Error).message.split('\n')
    log.error({ config: file, faults }, 'config not reloaded: the old one stays')
  }
}

/** A port that is taken or not ours, a certificate that can't be read: for the person at the terminal, without a stack. */
function startFault(error: unknown): never {
  if (error instanceof Error && 'syscall' in error) throw new UsageError(`could not start: ${error.message}`)
  throw error
}

/** For the person who started it; the log says the same to machines. */
function welcome(url: string, ledger: string, ends: string[]): string {
  const body = '{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}'
  return `
  Sluice listens on ${url}
  ledger    ${ledger}
  upstream  ${ends.join(', ')}
  try       curl ${url}/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse -H 'content-type: application/json' -d '${body}'
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
  const config = load(file)
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
