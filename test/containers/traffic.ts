// Clients that go on asking, each request once and on a connection of its own, so that whatever goes wrong is seen and not retried away.
import { call, HELLO, PROTOCOLS, type Protocol } from '../support/wire.ts'

export interface Asked {
  /** By the clock on the wall, which the Docker engine has too. */
  beganMs: number
  /** What went wrong; absent: a whole answer. */
  fault?: string
}

/** Counting is free and quick; a stream takes its time and is under way when a gateway dies. */
const COUNT = { path: '/model/anthropic.claude-v2/count-tokens', body: `{"input":{"converse":${HELLO}}}` }
const STREAM = { path: '/model/anthropic.claude-v2/converse-stream', body: HELLO }

export const wallMs = () => performance.timeOrigin + performance.now()

export class Traffic {
  readonly asked: Asked[] = []
  readonly #url: string
  readonly #clients: Promise<void>[]
  #stopping = false

  constructor(url: string) {
    this.#url = url
    const kinds: [Protocol, typeof COUNT][] = PROTOCOLS.flatMap(protocol => [
      [protocol, COUNT],
      [protocol, STREAM],
      [protocol, STREAM],
    ])
    this.#clients = kinds.map(([protocol, what]) => this.#keepAsking(protocol, what))
  }

  /** Of requests that began since then; a few are enough to see what is wrong. */
  faultsSince(sinceMs: number): string[] {
    return this.asked.flatMap(({ beganMs, fault }) => (beganMs >= sinceMs && fault ? [fault] : [])).slice(0, 10)
  }

  countSince(sinceMs: number): number {
    return this.asked.filter(({ beganMs }) => beganMs >= sinceMs).length
  }

  /** Resolves when what is under way has its end. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#clients)
  }

  async #keepAsking(protocol: Protocol, what: typeof COUNT): Promise<void> {
    while (!this.#stopping) {
      const beganMs = wallMs()
      const fault = await this.#ask(protocol, what)
      this.asked.push({ beganMs, ...(fault !== undefined && { fault: `${protocol} ${what.path}: ${fault}` }) })
    }
  }

  async #ask(protocol: Protocol, what: typeof COUNT): Promise<string | undefined> {
    try {
      const reply = await call(protocol, this.#url, what)
      // Of a gateway that says so because this machine is busy, the request is not lost.
      if (reply.headers['x-sluice-refusal'] === 'overloaded') return undefined
      if (reply.status !== 200) return `${reply.status} ${reply.headers['x-sluice-refusal']} ${reply.body}`
      return reply.broken ? 'broken off' : undefined
    } catch (error) {
      return String(error)
    }
  }
}
