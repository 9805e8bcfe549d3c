// Channels heard, kept up over reconnections. A message is only a hint: one that is published while the connection is away
// is lost, so whoever listens must also look by himself now and then.
import type { Cluster, Redis } from 'ioredis'

export type Hear = (message: string) => void

/** One side of Redis's pub/sub: SUBSCRIBE on a connection of its own, or SSUBSCRIBE through a Cluster's. */
interface Carrier {
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
}

export class Subscriptions {
  readonly #listeners = new Map<string, Set<Hear>>()
  readonly #asked = new Set<string>()
  readonly #carrier: Carrier

  constructor(carrier: Carrier) {
    this.#carrier = carrier
  }

  add(channel: string, hear: Hear): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners)
    listeners.add(hear)
    this.sync()
    return () => {
      listeners.delete(hear)
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return
      this.#listeners.delete(channel)
      this.#asked.delete(channel)
      this.#carrier.unsubscribe(channel).catch(() => {})
    }
  }

  /** Asks for what has not been asked for; what fails is asked for at the next call. */
  sync(): void {
    for (const channel of this.#listeners.keys()) {
      if (this.#asked.has(channel)) continue
      this.#asked.add(channel)
      this.#carrier.subscribe(channel).catch(() => this.#asked.delete(channel))
    }
  }

  /** The connection is gone, and with it what it was asked. */
  forget(): void {
    this.#asked.clear()
  }

  hear(channel: string, message: string): void {
    for (const hear of this.#listeners.get(channel) ?? []) hear(message)
  }
}

export function serverSubscriptions(subscriber: Redis): Subscriptions {
  const subscriptions = new Subscriptions({
    subscribe: channel => subscriber.subscribe(channel),
    unsubscribe: channel => subscriber.unsubscribe(channel),
  })
  subscriber.on('message', (channel, message) => subscriptions.hear(channel, message))
  subscriber.on('ready', () => subscriptions.sync())
  subscriber.on('close', () => subscriptions.forget())
  return subscriptions
}

/** ioredis itself subscribes again when a node is lost or a slot moves, once it has been told of a channel. */
export function clusterSubscriptions(cluster: Cluster): Subscriptions {
  const subscriptions = new Subscriptions({
    async subscribe(channel) {
      try {
        await cluster.ssubscribe(channel)
      } catch (error) {
        // It remembers channels it failed to subscribe too, once for each attempt.
        await cluster.sunsubscribe(channel).catch(() => {})
        throw error
      }
    },
    unsubscribe: channel => cluster.sunsubscribe(channel),
  })
  cluster.on('smessage', (channel, message) => subscriptions.hear(channel, message))
  return subscriptions
}
