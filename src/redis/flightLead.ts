// A call that this gateway makes for all: it says every second that it lives, and tells what it answers once a gateway
// follows. One call to Redis at a time: what comes meanwhile goes with the next.
import type { Clock } from '../domain/clock.ts'
import type { Hearer, Lead } from '../gateway/answerPorts.ts'
import type { RedisLink } from './connection.ts'
import { FlightRelay } from './flightRelay.ts'
import { FLIGHT_SCRIPTS } from './flightScripts.ts'
import { flightPrefix } from './keys.ts'

/** A maker that is not heard of for so long is dead. */
export const LIFE_MS = 3_000
const BEAT_MS = 1_000
const RETRY_MS = 100
/** How long what it told is kept after its end, unread. */
const ENDED_MS = 30_000
/** Base64 of what a gateway keeps of it itself, and a little more. */
const KEPT_BYTES = 6 * 1024 * 1024

export interface FlightLeadParts {
  link: RedisLink
  clock: Clock
  /** Told once it holds nothing in Redis any more that needs this gateway. */
  over: () => void
}

export class FlightLead implements Lead {
  readonly #parts: FlightLeadParts
  readonly #prefix: string
  readonly #id: string
  #relay: FlightRelay | undefined
  #relayTask: ((relay: Hearer) => () => void) | undefined
  #endRelay: () => void = () => {}
  /** Taken from the relay, and perhaps not told: a call whose reply was lost is repeated as it was. */
  #telling: string[] = []
  #toldFrames = 0
  #isTelling = false
  #heardMs: number
  #cancelBeat: () => void
  #isOver = false
  #closed: Promise<void> | undefined
  #whenDeserted = Promise.withResolvers<void>()
  #isDeserted = false

  constructor(key: string, id: string, parts: FlightLeadParts) {
    this.#parts = parts
    this.#prefix = flightPrefix(key)
    this.#id = id
    this.#heardMs = parts.clock.nowMs()
    this.#cancelBeat = parts.clock.after(BEAT_MS, () => this.#tell())
  }

  whenFollowed(task: (relay: Hearer) => () => void): void {
    this.#relayTask = task
  }

  /** A gateway follows, or has followed. */
  followed(): void {
    if (this.#relay || this.#isOver || !this.#relayTask) return
    this.#relay = new FlightRelay(() => this.#tell())
    this.#endRelay = this.#relayTask(this.#relay)
  }

  close(): Promise<void> {
    this.#closed ??= this.#release(false)
    return this.#closed
  }

  deserted(): Promise<void> {
    this.#isDeserted = true
    void this.#release(this.#closed === undefined)
    return this.#whenDeserted.promise
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelBeat()
    this.#relay?.stop()
    this.#endRelay()
    this.#whenDeserted.resolve()
    this.#parts.over()
  }

  /** While it is followed it goes on, and may be joined when `stayOpen`; else nothing is left of it. */
  async #release(stayOpen: boolean): Promise<void> {
    if (this.#isOver) return
    const args = [this.#id, stayOpen ? 1 : 0]
    const isFollowed = await this.#parts.link.run(FLIGHT_SCRIPTS.release, [this.#prefix], args).catch(() => undefined)
    if (isFollowed === 1) this.followed()
    // Unknown: the next beat knows, unless nobody was there before this call and nobody can come after it.
    else if (isFollowed === 0 || (!stayOpen && !this.#relay)) this.stop()
  }

  /** Tells what is new; nothing new: that it lives. */
  async #tell(): Promise<void> {
    if (this.#isTelling || this.#isOver) return
    this.#isTelling = true
    this.#cancelBeat()
    if (this.#telling.length === 0) this.#telling = this.#relay?.take() ?? []
    const isLast = this.#relay?.isTold === true
    const args = [this.#id, isLast ? ENDED_MS : LIFE_MS, KEPT_BYTES, this.#toldFrames, isLast ? 1 : 0]
    const { link } = this.#parts
    const reply = await link
      .run(FLIGHT_SCRIPTS.tell, [this.#prefix], [...args, link.publishCommand, ...this.#telling])
      .catch(() => undefined)
    this.#isTelling = false
    if (this.#isOver) return
    if (reply === undefined) this.#failed()
    else this.#heard(Number(reply), isLast)
  }

  #heard(reply: number, wasLast: boolean): void {
    this.#heardMs = this.#parts.clock.nowMs()
    this.#toldFrames += this.#telling.length
    this.#telling = []
    if (reply < 0 || wasLast) {
      this.stop()
      return
    }
    if (reply === 1) this.followed()
    else if (this.#isDeserted) void this.#release(this.#closed === undefined)
    if (this.#relay && !this.#relay.isEmpty) void this.#tell()
    else this.#cancelBeat = this.#parts.clock.after(BEAT_MS, () => this.#tell())
  }

  /** After so long the others have given it up. */
  #failed(): void {
    const { clock } = this.#parts
    if (clock.nowMs() - this.#heardMs > LIFE_MS) this.stop()
    else this.#cancelBeat = clock.after(RETRY_MS, () => this.#tell())
  }
}
