// Real Redis servers for tests and benches: each on a port of its own, without persistence, gone with the process that
// started it even when a test throws.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { releasePort, reservePort } from './ports.ts'
import { findRedis, findValkey, type RedisBinary } from './redisBinary.ts'
import { until } from './wire.ts'

export interface TestRedis {
  /** redis://127.0.0.1:port */
  readonly url: string
  readonly port: number
  /** Of the server that runs now. */
  readonly pid: number
  /** What it has written since its last start. */
  log(): string
  /** For good: the port is given back. Twice does nothing. */
  stop(): Promise<void>
  /** On the same port, all state lost. */
  restart(): Promise<void>
  /** SIGSTOP: it accepts connections and answers nothing. */
  pause(): void
  resume(): void
  /** SIGKILL: connections are refused until `start`. */
  kill(): Promise<void>
  /** Again on the same port, empty. */
  start(): Promise<void>
}

const START_MS = 15_000
/** In Docker the image may have to be fetched first. */
const START_IN_DOCKER_MS = 120_000
const running = new Set<Server>()

/** Further arguments of redis-server, which win over its usual ones. */
type Arguments = string[] | ((port: number) => string[])

export async function startRedis(args: Arguments = []): Promise<TestRedis> {
  return startServer(await findRedis(), args)
}

/** Undefined when there is no valkey-server. */
export async function startValkey(args: Arguments = []): Promise<TestRedis | undefined> {
  const binary = findValkey()
  return binary && startServer(binary, args)
}

async function startServer(binary: RedisBinary, args: Arguments): Promise<TestRedis> {
  const port = await reservePort()
  const server = new Server(binary, port, typeof args === 'function' ? args(port) : args)
  try {
    await server.start()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

class Server implements TestRedis {
  readonly url: string
  readonly port: number
  readonly #binary: RedisBinary
  readonly #args: string[]
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-redis-'))
  readonly #logFile = join(this.#folder, 'log')
  #child: ChildProcess | undefined

  constructor(binary: RedisBinary, port: number, args: string[]) {
    this.#binary = binary
    this.port = port
    this.url = `redis://127.0.0.1:${port}`
    const own = ['--port', String(port), '--bind', '127.0.0.1', '--maxmemory-policy', 'noeviction']
    const transient = ['--save', '', '--appendonly', 'no', ...(binary.container ? [] : ['--dir', this.#folder])]
    this.#args = [...binary.args, ...own, ...transient, ...args]
    running.add(this)
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  log(): string {
    return readFileSync(this.#logFile, 'utf8')
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error(`the Redis on port ${this.port} runs already`)
    const file = openSync(this.#logFile, 'w')
    const child = spawn(this.#binary.command, this.#args, { stdio: ['ignore', file, file] })
    closeSync(file)
    this.#child = child
    let failure: string | undefined
    child.on('error', error => {
      failure = error.message
    })
    child.on('exit', (code, signal) => {
      failure = `it exited: ${signal ?? code}`
    })
    // A test that throws before it stops us must not hang on us.
    child.unref()
    const withinMs = this.#binary.container ? START_IN_DOCKER_MS : START_MS
    // Its own words, not an answer on the port: that might come from somebody else.
    const isReady = () => /Ready to accept connections/i.test(this.log())
    await until(() => isReady() || failure !== undefined, `the Redis on port ${this.port} starts`, withinMs)
    if (failure !== undefined) throw new Error(`no Redis on port ${this.port}: ${failure}\n${this.log()}`)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    const exited = new Promise(resolve => child.once('exit', resolve))
    this.#signal('SIGKILL', child)
    await exited
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  pause(): void {
    this.#signal('SIGSTOP', this.#child)
  }

  resume(): void {
    this.#signal('SIGCONT', this.#child)
  }

  async stop(): Promise<void> {
    if (!running.has(this)) return
    await this.kill()
    this.#forget()
  }

  /** While the process exits there is no time to wait. */
  stopAtExit(): void {
    const child = this.#child
    if (child && child.exitCode === null && child.signalCode === null) this.#signal('SIGKILL', child)
    this.#forget()
  }

  #forget(): void {
    running.delete(this)
    rmSync(this.#folder, { recursive: true, force: true })
    releasePort(this.port)
  }

  #signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT', child: ChildProcess | undefined): void {
    const { container } = this.#binary
    if (!container) child?.kill(signal)
    else spawnSync('docker', [{ SIGKILL: 'kill', SIGSTOP: 'pause', SIGCONT: 'unpause' }[signal], container])
  }
}

const stopAll = () => {
  for (const server of running) server.stopAtExit()
}
process.on('exit', stopAll)
// A signal that ends the process does not run `exit` by itself.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.once(signal, () => {
    stopAll()
    process.exit(code)
  })
}
