// The link to Redis: scripts, hints between gateways, and whether Redis is there at all. It is up when a PING has been
// answered; it is down when the connection is lost or a PING is not answered in time. While it is down, calls fail at once
// instead of piling up on a server that does not answer.
import type { Cluster, Redis } from 'ioredis'
import type { Clock, Dice } from '../domain/clock.ts'
import { backoff, type ConnectionSettings, createCluster, createServer } from './clients.ts'
import { faultKind, faultText, RedisFault, secretRemover } from './fault.ts'
import type { Script, ScriptReply } from './script.ts'
import { checkServer, type ServerCheck } from './serverCheck.ts'
import { clusterSubscriptions, type Hear, type Subscriptions, serverSubscriptions } from './subscriptions.ts'
import { describeAddress, parseRedisUrl, type RedisAddress } from './url.ts'

export interface RedisLink {
  /** The URL without user and password. */
  readonly address: string
  /**
   * A command was answered lately. Of a Cluster: at least one node answers, so calls on keys of a lost shard are rejected
   * though the link is up.
   */
  readonly isUp: boolean
  /** Why it is down, without secrets; undefined while it is up. */
  readonly trouble: string | undefined
  /** What reaches `subscribe`: to be handed to scripts that publish. */
  readonly publishCommand: 'PUBLISH' | 'SPUBLISH'
  /** Runs it, loading it first where Redis does not know it. Rejects with a RedisFault, never later than the command timeout (twice that to load). */
  run(script: Script, keys: string[], args: (string | number | Buffer)[]): Promise<ScriptReply>
  publish(channel: string, message: string): Promise<void>
  /** From now on, over reconnections; the returned function ends it. May be called while Redis is away. */
  subscribe(channel: string, hear: Hear): () => void
  /** Called each time Redis comes; not for what is already so. The returned function ends it. */
  onUp(task: () => void): () => void
  /** Called each time Redis goes, and once when it can't be reached to begin with. */
  onDown(task: (reason: string) => void): () => void
  /** Version and settings of the server, or of each master. Never rejects. */
  check(): Promise<ServerCheck[]>
  /** Drops the connections; pending calls reject. Resolves when no socket or timer is left. */
  close(): Promise<void>
}

/** How often an idle link makes sure of its server. */
const HEARTBEAT_MS = 1_000
/** A connection that is not closed by then has nothing left to close. */
const CLOSE_MS = 500

/** Connects in the background, and again for ever. Throws only for a URL that is none, without repeating it. */
export function connectRedis(url: string, settings: ConnectionSettings, clock: Clock, dice: Dice): RedisLink {
  const parsed = parseRedisUrl(url)
  if (parsed.kind === 'faulty') throw new Error(`expected ${parsed.expected}`)
  return new Link(parsed.address, settings, clock, dice)
}

class Link implements RedisLink {
  readonly address: string
  readonly publishCommand: 'PUBLISH' | 'SPUBLISH'
  readonly #client: Redis | Cluster
  /** Of a single server: a connection that subscribes does nothing else. */
  readonly #subscriber: Redis | undefined
  readonly #subscriptions: Subscriptions
  readonly #clock: Clock
  readonly #delayMs: (attempt: number) => number
  readonly #withoutSecrets: (text: string) => string
  readonly #upTasks = new Set<() => void>()
  readonly #downTasks = new Set<(reason: string) => void>()
  #state: 'new' | 'up' | 'down' | 'closed' = 'new'
  #trouble: string | undefined = 'not connected yet'
  #lastError: string | undefined
  #isProbing = false
  #failedProbes = 0
  #cancelBeat: () => void = () => {}

  constructor(address: RedisAddress, settings: ConnectionSettings, clock: Clock, dice: Dice) {
    this.address = describeAddress(address)
    this.#clock = clock
    this.#delayMs = backoff(dice)
    this.#withoutSecrets = secretRemover([address.username, address.password])
    if (address.kind === 'cluster') {
      const cluster = createCluster(address, settings, dice)
      this.#client = cluster
      this.#subscriptions = clusterSubscriptions(cluster)
      this.publishCommand = 'SPUBLISH'
    } else {
      this.#client = createServer(address, settings, dice)
      this.#subscriber = createServer(address, settings, dice)
      this.#subscriber.on('error', () => {})
      this.#subscriptions = serverSubscriptions(this.#subscriber)
      this.publishCommand = 'PUBLISH'
    }
    this.#client.on('error', error => this.#note(error))
    this.#client.on('ready', () => this.#beat())
    this.#client.on('close', () => this.#down(this.#lastError ?? 'the connection was closed'))
    this.#cancelBeat = clock.after(HEARTBEAT_MS, () => this.#beat())
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  get trouble(): string | undefined {
    return this.#trouble
  }

  async run(script: Script, keys: string[], args: (string | number | Buffer)[]): Promise<ScriptReply> {
    this.#requireUp()
    try {
      return (await this.#client.evalsha(script.sha, keys.length, ...keys, ...args)) as ScriptReply
    } catch (error) {
      // Not run, so safe to send again. EVAL goes where the keys are, which SCRIPT LOAD in a Cluster does not.
      if (!isNoScript(error)) throw this.#fault(error, script.name)
    }
    try {
      return (await this.#client.eval(script.source, keys.length, ...keys, ...args)) as ScriptReply
    } catch (error) {
      throw this.#fault(error, script.name)
    }
  }

  async publish(channel: string, message: string): Promise<void> {
    this.#requireUp()
    try {
      await (this.#subscriber ? this.#client.publish(channel, message) : this.#client.spublish(channel, message))
    } catch (error) {
      throw this.#fault(error, 'publish')
    }
  }

  subscribe(channel: string, hear: Hear): () => void {
    return this.#subscriptions.add(channel, hear)
  }

  onUp(task: () => void): () => void {
    this.#upTasks.add(task)
    return () => this.#upTasks.delete(task)
  }

  onDown(task: (reason: string) => void): () => void {
    this.#downTasks.add(task)
    return () => this.#downTasks.delete(task)
  }

  check(): Promise<ServerCheck[]> {
    return Promise.all(
      this.#servers().map(async server => {
        const info = await server.info().catch(() => undefined)
        return checkServer(info, this.#subscriber === undefined)
      }),
    )
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#trouble = 'closed'
    this.#cancelBeat()
    this.#upTasks.clear()
    this.#downTasks.clear()
    await Promise.all([this.#disconnect(this.#client), this.#subscriber && this.#disconnect(this.#subscriber)])
  }

  #disconnect(client: Redis | Cluster): Promise<void> {
    return new Promise(resolve => {
      // Between two attempts there is no socket, and no `end` will be told.
      const isIdle = client.status === 'end' || client.status === 'reconnecting'
      client.disconnect()
      if (isIdle) return resolve()
      const cancel = this.#clock.after(CLOSE_MS, resolve)
      client.once('end', () => {
        cancel()
        resolve()
      })
    })
  }

  #requireUp(): void {
    if (this.#state !== 'up') throw new RedisFault('away', `Redis is away: ${this.#trouble}`)
  }

  #fault(error: unknown, what: string): RedisFault {
    const kind = faultKind(error)
    // A slow script or a silent server? The next PING knows.
    if (kind === 'timeout') this.#beat()
    return new RedisFault(kind, this.#withoutSecrets(`${what}: ${faultText(error)}`))
  }

  #note(error: unknown): void {
    this.#lastError = this.#withoutSecrets(faultText(error))
    if (this.#state === 'new') this.#down(this.#lastError)
    else if (this.#state === 'down') this.#trouble = this.#lastError
  }

  #servers(): Redis[] {
    return 'nodes' in this.#client ? this.#client.nodes('master') : [this.#client]
  }

  /** Asks every server now, and again when that is due. */
  async #beat(): Promise<void> {
    if (this.#isProbing || this.#state === 'closed') return
    this.#isProbing = true
    this.#cancelBeat()
    const troubles = await this.#probe()
    this.#isProbing = false
    if (this.#isClosed()) return
    if (troubles.includes(undefined)) this.#up()
    else if (troubles[0] !== undefined) this.#down(this.#withoutSecrets(troubles[0]))
    this.#subscriptions.sync()
    const delayMs = this.#state === 'up' ? HEARTBEAT_MS : this.#delayMs(++this.#failedProbes)
    this.#cancelBeat = this.#clock.after(delayMs, () => this.#beat())
  }

  /** What is wrong with each server, undefined for nothing; empty when there is no connection to ask over. */
  async #probe(): Promise<(string | undefined)[]> {
    if (this.#client.status !== 'ready') return []
    // Its answer tells nothing new, but a socket that owes one is given up when it is dead.
    if (this.#subscriber?.status === 'ready') this.#subscriber.ping().catch(() => {})
    const troubles = await Promise.all(this.#servers().map(pingTrouble))
    return this.#client.status === 'ready' ? troubles : []
  }

  #up(): void {
    this.#trouble = undefined
    this.#lastError = undefined
    this.#failedProbes = 0
    if (this.#state === 'up') return
    this.#state = 'up'
    for (const task of this.#upTasks) task()
  }

  #down(reason: string): void {
    if (this.#isClosed()) return
    this.#trouble = reason
    if (this.#state === 'down') return
    this.#state = 'down'
    for (const task of this.#downTasks) task(reason)
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }
}

async function pingTrouble(server: Redis): Promise<string | undefined> {
  try {
    await server.ping()
  } catch (error) {
    const text = faultText(error)
    // Forbidden to ask is an answer too. LOADING, NOAUTH and MASTERDOWN are answers that mean no.
    return text.startsWith('NOPERM') ? undefined : text
  }
  return undefined
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}
