// What a gateway keeps an eye on in a room in Redis: whether what it left there still stands, and what it would go by if
// Redis went away.
import type { Clock } from '../domain/clock.ts'
import type { PoolQuota } from '../domain/pool.ts'
import type { RoomSnapshot } from '../domain/roomSnapshot.ts'
import { Footing } from './footing.ts'
import { ServiceShare } from './serviceShare.ts'

export interface LookoutParts {
  clock: Clock
  look: () => Promise<RoomSnapshot>
  /** Redis did not answer. */
  onFault: (reason: string) => void
  /** Tickets of this gateway may be in the room's line no longer. */
  onLost: () => void
}

const FIRST_LOOK_MS = 1_000
const LOOK_MS = 5_000

export class Lookout {
  readonly share: ServiceShare
  readonly #parts: LookoutParts
  #footing: Footing
  /** How often it has stopped: what was asked before then is answered too late. */
  #stops = 0
  #cancelLook: () => void = () => {}

  constructor(pools: PoolQuota[], parts: LookoutParts) {
    this.#parts = parts
    this.share = new ServiceShare(pools, parts.clock)
    this.#footing = new Footing(parts.clock.nowMs())
  }

  /** The room has been opened. */
  start(): void {
    this.#footing = new Footing(this.#parts.clock.nowMs())
    this.#later(FIRST_LOOK_MS)
  }

  stop(): void {
    this.#stops += 1
    this.#cancelLook()
  }

  /** Redis has heard of this gateway. */
  heard(): void {
    if (!this.#footing.heard(this.#parts.clock.nowMs())) this.#parts.onLost()
  }

  /** How long until it must be heard of again. */
  get beatMs(): number {
    return this.#footing.beatMs(this.#parts.clock.nowMs())
  }

  async #look(): Promise<void> {
    const stops = this.#stops
    const snapshot = await this.#parts.look().catch((error: Error) => error)
    if (stops !== this.#stops) return
    if (snapshot instanceof Error) return this.#parts.onFault(snapshot.message)
    this.share.measure(snapshot)
    if (!this.#footing.stands(snapshot.meter.startMs)) this.#parts.onLost()
    this.#later(LOOK_MS)
  }

  #later(delayMs: number): void {
    this.#cancelLook = this.#parts.clock.after(delayMs, () => void this.#look())
  }
}
