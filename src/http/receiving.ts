// Bytes of requests held at once, from the first byte of a body until its request has ended: what waits for its turn is in
// memory all that time. Room is taken as a body comes, and for the first of it in advance: a length that is declared and
// not sent holds next to nothing.
import type { Clock } from '../domain/clock.ts'
import type { Priority } from '../domain/model.ts'
import type { Stage } from '../gateway/stage.ts'

/** Counted for each request beside its body: its socket, headers and all that is noted about it. It bounds their number. */
export const REQUEST_BYTES = 16 * 1024
/** Of a declared length so much is taken before a byte has come: a body no larger is never refused in its middle. */
export const ADVANCE_BYTES = 64 * 1024

export class Receiving {
  readonly stage: Stage
  readonly clock: Clock

  constructor(stage: Stage, clock: Clock) {
    this.stage = stage
    this.clock = clock
  }

  /**
   * undefined: the whole of it would find no room now, so that none of it need be sent. `declaredBytes` is 0 where no length
   * is declared. What is admitted must be released.
   */
  admit(priority: Priority, declaredBytes: number): Place | undefined {
    if (!this.stage.fits(priority, REQUEST_BYTES + declaredBytes)) return undefined
    const advanceBytes = Math.min(declaredBytes, ADVANCE_BYTES)
    this.stage.enter(priority, REQUEST_BYTES + advanceBytes)
    return new Place(this, priority, advanceBytes)
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

  constructor(receiving: Receiving, priority: Priority, advanceBytes: number) {
    this.#receiving = receiving
    this.#priority = priority
    this.#bodyBytes = advanceBytes
    this.#beganMs = receiving.clock.nowMs()
  }

  /** False: there is no room for it, and it must not be kept. */
  arrived(bytes: number): boolean {
    const more = this.#arrivedBytes + bytes - this.#bodyBytes
    if (more > 0) {
      if (!this.#receiving.stage.enter(this.#priority, more)) return false
      this.#bodyBytes += more
    }
    this.#arrivedBytes += bytes
    return true
  }

  /** The body's end has come. */
  whole(): void {
    const { stage, clock } = this.#receiving
    stage.took(clock.nowMs() - this.#beganMs)
    if (this.#arrivedBytes === this.#bodyBytes) return
    stage.leave(this.#bodyBytes - this.#arrivedBytes)
    this.#bodyBytes = this.#arrivedBytes
  }

  /** The request has ended. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#receiving.stage.leave(REQUEST_BYTES + this.#bodyBytes)
  }
}
