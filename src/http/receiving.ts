// Bytes of requests held at once, from the first byte of a body until its request has ended: what waits for its turn is in
// memory all that time. Room is taken before a body is read: by its declared length, or as it comes where none is declared.
import type { Clock } from '../domain/clock.ts'
import type { Priority } from '../domain/model.ts'
import type { Stage } from '../gateway/stage.ts'

/** Counted for each request beside its body: its socket, headers and all that is noted about it. It bounds their number. */
export const REQUEST_BYTES = 16 * 1024
/** A sender that stays behind this pace keeps no room for what it has not sent. It is not cut off: it may finish if there is room. */
const SLOW_BYTES_PER_MS = 64
const GRACE_MS = 5_000
/** How often those are looked for, while there is no room. */
const LOOK_MS = 1_000

export class Receiving {
  readonly stage: Stage
  readonly clock: Clock
  readonly #sending = new Set<Place>()
  #lookedMs = Number.NEGATIVE_INFINITY

  constructor(stage: Stage, clock: Clock) {
    this.stage = stage
    this.clock = clock
  }

  /** undefined: there is no room. `declaredBytes` is 0 where no length is declared. What is admitted must be released. */
  admit(priority: Priority, declaredBytes: number): Place | undefined {
    if (!this.take(priority, REQUEST_BYTES + declaredBytes)) return undefined
    const place = new Place(this, priority, declaredBytes)
    this.#sending.add(place)
    return place
  }

  take(priority: Priority, bytes: number): boolean {
    return this.stage.enter(priority, bytes) || (this.#reclaim() && this.stage.enter(priority, bytes))
  }

  arrivedWhole(place: Place): void {
    this.#sending.delete(place)
  }

  #reclaim(): boolean {
    const nowMs = this.clock.nowMs()
    if (Math.abs(nowMs - this.#lookedMs) < LOOK_MS) return false
    this.#lookedMs = nowMs
    for (const place of this.#sending) place.giveBackUnsent(nowMs)
    return true
  }
}

/** One request's part. */
export class Place {
  readonly #receiving: Receiving
  readonly #priority: Priority
  readonly #beganMs: number
  #bodyBytes: number
  #arrivedBytes = 0
  #isReleased = false

  constructor(receiving: Receiving, priority: Priority, declaredBytes: number) {
    this.#receiving = receiving
    this.#priority = priority
    this.#bodyBytes = declaredBytes
    this.#beganMs = receiving.clock.nowMs()
  }

  /** False: there is no room for it, and it must not be kept. */
  arrived(bytes: number): boolean {
    const more = this.#arrivedBytes + bytes - this.#bodyBytes
    if (more > 0) {
      if (!this.#receiving.take(this.#priority, more)) return false
      this.#bodyBytes += more
    }
    this.#arrivedBytes += bytes
    return true
  }

  /** The body's end has come. */
  whole(): void {
    this.#receiving.arrivedWhole(this)
    this.#receiving.stage.took(this.#receiving.clock.nowMs() - this.#beganMs)
    this.#keepOnly(this.#arrivedBytes)
  }

  giveBackUnsent(nowMs: number): void {
    const sinceMs = nowMs - this.#beganMs
    if (sinceMs > GRACE_MS && this.#arrivedBytes < sinceMs * SLOW_BYTES_PER_MS) this.#keepOnly(this.#arrivedBytes)
  }

  /** The request has ended. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#receiving.arrivedWhole(this)
    this.#receiving.stage.leave(REQUEST_BYTES + this.#bodyBytes)
  }

  #keepOnly(bytes: number): void {
    if (bytes === this.#bodyBytes) return
    this.#receiving.stage.leave(this.#bodyBytes - bytes)
    this.#bodyBytes = bytes
  }
}
