// Calls that replicas share. Each is claimed by one gateway for as long as it lives; until another follows it costs Redis a
// claim, a beat a second and a release; then its answer too, of which a bounded part is kept.
import type { Clock } from '../domain/clock.ts'
import type { Boarding, Flights } from '../gateway/answerPorts.ts'
import type { RedisLink } from './connection.ts'
import { FlightFollower, FOLLOWED_MS } from './flightFollower.ts'
import { FlightLead, LIFE_MS } from './flightLead.ts'
import { FLIGHT_SCRIPTS } from './flightScripts.ts'
import { flightPrefix, followedChannel } from './keys.ts'

export interface RedisFlightsParts {
  link: RedisLink
  /** This replica's name, unlike any other's. */
  gateway: string
  clock: Clock
}

/** What others may ask of this gateway is bounded: calls beyond are shared within it alone. */
const MOST_LED = 1_000
/** How long a gateway that stops goes on telling. */
const LAST_WORDS_MS = 1_000

export class RedisFlights implements Flights {
  readonly #parts: RedisFlightsParts
  readonly #leads = new Map<string, FlightLead>()
  readonly #followers = new Set<FlightFollower>()
  #count = 0
  #unsubscribe: (() => void) | undefined
  #whenIdle: () => void = () => {}

  constructor(parts: RedisFlightsParts) {
    this.#parts = parts
  }

  async board(key: string): Promise<Boarding> {
    const { link, gateway, clock } = this.#parts
    if (this.#leads.size >= MOST_LED) return { kind: 'alone' }
    this.#unsubscribe ??= link.subscribe(followedChannel(gateway), id => this.#leads.get(id)?.followed())
    this.#count += 1
    const id = `${gateway}:${this.#count}`
    const prefix = flightPrefix(key)
    let maker: string
    try {
      maker = String(await link.run(FLIGHT_SCRIPTS.claim, [prefix], [id, LIFE_MS, FOLLOWED_MS]))
    } catch {
      // It may have been claimed, and nobody would be told a thing.
      link.run(FLIGHT_SCRIPTS.release, [prefix], [id, 0]).catch(() => {})
      return { kind: 'alone' }
    }
    if (maker !== id) {
      link.publish(followedChannel(maker.slice(0, maker.lastIndexOf(':'))), maker).catch(() => {})
      return { kind: 'follow', follow: (hearer, lost) => this.#follow(key, maker, hearer, lost) }
    }
    const lead = new FlightLead(key, id, { link, clock, over: () => this.#over(id) })
    this.#leads.set(id, lead)
    return { kind: 'lead', lead }
  }

  /** Resolves when what has ended is told, as far as Redis hears it; other calls are the others' to give up. */
  async close(): Promise<void> {
    for (const follower of this.#followers) follower.stop()
    if (this.#leads.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#whenIdle = resolve
      const cancel = this.#parts.clock.after(LAST_WORDS_MS, resolve)
      await promise
      cancel()
    }
    this.stop()
  }

  /** At once, as if the process had died. */
  stop(): void {
    this.#unsubscribe?.()
    for (const lead of this.#leads.values()) lead.stop()
    for (const follower of this.#followers) follower.stop()
  }

  #over(id: string): void {
    this.#leads.delete(id)
    if (this.#leads.size === 0) this.#whenIdle()
  }

  #follow(key: string, id: string, ...[hearer, lost]: Parameters<Extract<Boarding, { kind: 'follow' }>['follow']>) {
    const { link, clock } = this.#parts
    const follower = new FlightFollower(link, clock, key, id, hearer, lost)
    this.#followers.add(follower)
    return () => {
      this.#followers.delete(follower)
      follower.stop()
    }
  }
}
