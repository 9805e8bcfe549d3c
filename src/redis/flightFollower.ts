// A call that another gateway makes, heard through Redis from its start. A hint says that there is more; because hints may
// be lost it looks now and then by itself, which is also how the maker knows that it is followed.
import type { Clock } from '../domain/clock.ts'
import type { Hearer } from '../gateway/answerPorts.ts'
import type { FlowControl } from '../gateway/ports.ts'
import type { RedisLink } from './connection.ts'
import { hearFrame } from './flightFrames.ts'
import { FLIGHT_SCRIPTS } from './flightScripts.ts'
import { flightPrefix, toldChannel } from './keys.ts'

/** A follower that is not heard of for so long is none. */
export const FOLLOWED_MS = 3_000
const LOOK_MS = 200
/** While its readers are slow it only says that it is there. */
const PAUSED_LOOK_MS = 1_000
/** A Redis that does not answer for so long has lost it. */
const LOST_MS = 1_000
/** Taken at once. */
const READ_BYTES = 256 * 1024

export class FlightFollower implements FlowControl {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #prefix: string
  readonly #id: string
  readonly #hearer: Hearer
  readonly #lost: () => void
  readonly #unsubscribe: () => void
  #nextFrame = 0
  #isReading = false
  #hasHint = false
  #isPaused = false
  #isOver = false
  #heardMs: number
  #cancelLook: () => void = () => {}

  constructor(link: RedisLink, clock: Clock, key: string, id: string, hearer: Hearer, lost: () => void) {
    this.#link = link
    this.#clock = clock
    this.#prefix = flightPrefix(key)
    this.#id = id
    this.#hearer = hearer
    this.#lost = lost
    this.#heardMs = clock.nowMs()
    this.#unsubscribe = link.subscribe(toldChannel(key, id), () => this.#hint())
    void this.#read()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#hint()
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelLook()
    this.#unsubscribe()
  }

  #hint(): void {
    this.#hasHint = true
    if (!this.#isPaused) void this.#read()
  }

  async #read(): Promise<void> {
    if (this.#isReading || this.#isOver) return
    this.#isReading = true
    this.#hasHint = false
    this.#cancelLook()
    const args = [this.#id, this.#nextFrame, this.#isPaused ? 0 : READ_BYTES, FOLLOWED_MS]
    const reply = await this.#link.run(FLIGHT_SCRIPTS.read, [this.#prefix], args).catch(() => undefined)
    this.#isReading = false
    if (this.#isOver) return
    const nowMs = this.#clock.nowMs()
    const isGone = reply === undefined ? nowMs - this.#heardMs > LOST_MS : !Array.isArray(reply)
    if (isGone) {
      this.stop()
      this.#lost()
      return
    }
    if (Array.isArray(reply)) {
      this.#heardMs = nowMs
      if (!this.#hear(reply.map(String))) {
        this.stop()
        this.#lost()
        return
      }
      if (reply.length > 0) this.#hasHint = true
    }
    this.#goOn()
  }

  /** False: one was damaged, or is another version's. */
  #hear(frames: string[]): boolean {
    for (const frame of frames) {
      this.#nextFrame += 1
      try {
        if (hearFrame(frame, this.#hearer, this)) this.stop()
      } catch {
        return false
      }
      if (this.#isOver) break
    }
    return true
  }

  #goOn(): void {
    if (this.#isOver) return
    if (this.#hasHint && !this.#isPaused) void this.#read()
    else this.#cancelLook = this.#clock.after(this.#isPaused ? PAUSED_LOOK_MS : LOOK_MS, () => this.#read())
  }
}
