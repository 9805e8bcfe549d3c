// Bytes of requests held at once, from the first byte of a body until its request has ended: what waits for its turn is in
// memory all that time. Room is taken as a body comes, and for the first of it in advance: a length that is declared and
// not sent holds next to nothing.
import type { Clock } from '../domain/clock.ts'
import type { Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Stage } from '../gateway/stage.ts'
import { RoomShares } from './roomShares.ts'

/** Counted for each request beside its body: its socket, headers and all that is noted about it. It bounds their number. */
export const REQUEST_BYTES = 16 * 1024
/** Of a declared length so much is taken before a byte has come: a body no larger is never refused in its middle. */
export const ADVANCE_BYTES = 64 * 1024

export class Receiving {
  readonly stage: Stage
  readonly clock: Clock
  readonly #shares = new RoomShares()

  constructor(stage: Stage, clock: Clock) {
    this.stage = stage
    this.clock = clock
  }

  /**
   * undefined: the whole of it would find no room now, so that none of it need be sent. `declaredBytes` is 0 where no length
   * is declared. `client`: whose share of the room it is; absent: nobody shares it. What is admitted must be released.
   */
  admit(priority: Priority, declaredBytes: number, client?: string): Place | undefined {
    if (!this.#hasRoom(priority, REQUEST_BYTES + declaredBytes, client)) return undefined
    const advanceBytes = Math.min(declaredBytes, ADVANCE_BYTES)
    this.enter(priority, REQUEST_BYTES + advanceBytes, client)
    return new Place(this, priority, client, advanceBytes)
  }

  /** Counted. Of one that found no room for so many bytes. */
  refusal(priority: Priority, bytes: number, client?: string): Refusal {
    const isShare = client !== undefined && this.stage.fits(priority, bytes)
    return isShare ? this.stage.refusalOf(client, priority) : this.stage.refusal(priority)
  }

  /** False: there is no room, and nothing was taken. */
  enter(priority: Priority, bytes: number, client: string | undefined): boolean {
    if (!this.#hasRoom(priority, bytes, client)) return false
    this.stage.enter(priority, bytes)
    if (client !== undefined) this.#shares.took(client, bytes)
    return true
  }

  leave(bytes: number, client: string | undefined): void {
    this.stage.leave(bytes)
    if (client !== undefined) this.#shares.took(client, -bytes)
  }

  #hasRoom(priority: Priority, bytes: number, client: string | undefined): boolean {
    const { stage } = this
    return (
      stage.fits(priority, bytes) &&
      (client === undefined || this.#shares.allows(client, bytes, stage.limit - stage.depth))
    )
  }
}

/** One request's part. */
export class Place {
  readonly #receiving: Receiving
  readonly #priority: Priority
  readonly #client: string | undefined
  readonly #beganMs: number
  #bodyBytes: number
  #arrivedBytes = 0
  #isReleased = false

  constructor(receiving: Receiving, priority: Priority, client: string | undefined, advanceBytes: number) {
    this.#receiving = receiving
    this.#priority = priority
    this.#client = client
    this.#bodyBytes = advanceBytes
    this.#beganMs = receiving.clock.nowMs()
  }

  /** False: there is no room for it, and it must not be kept. */
  arrived(bytes: number): boolean {
    const more = this.#arrivedBytes + bytes - this.#bodyBytes
    if (more > 0) {
      if (!this.#receiving.enter(this.#priority, more, this.#client)) return false
      this.#bodyBytes += more
    }
    this.#arrivedBytes += bytes
    return true
  }

  /** What one is told whose next bytes found no room. */
  refusal(): Refusal {
    return this.#receiving.refusal(this.#priority, ADVANCE_BYTES, this.#client)
  }

  /** The body's end has come. */
  whole(): void {
    const { stage, clock } = this.#receiving
    stage.took(clock.nowMs() - this.#beganMs)
    if (this.#arrivedBytes === this.#bodyBytes) return
    this.#receiving.leave(this.#bodyBytes - this.#arrivedBytes, this.#client)
    this.#bodyBytes = this.#arrivedBytes
  }

  /** The request has ended. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#receiving.leave(REQUEST_BYTES + this.#bodyBytes, this.#client)
  }
}
