// Whether what this gateway left in a room in Redis is still there: tickets of a gateway that is silent are swept by the
// others, and a room that was lost (FLUSHALL, a failover) and made anew by another gateway knows that one's tickets only.

/** A gateway that waits for nothing is heard of this often all the same: the others count on it. */
const HEARTBEAT_MS = 3_000
/** One not heard of for ten seconds is given up; this leaves room for clocks that differ. */
const GIVEN_UP_MS = 8_000
/** A room counts its time in minutes from its beginning. */
const MINUTE_MS = 60_000

export class Footing {
  #heardMs: number
  #startMs: number | undefined

  constructor(nowMs: number) {
    this.#heardMs = nowMs
  }

  /** Redis has heard of this gateway. False: after so long a silence that its tickets may have been swept. */
  heard(nowMs: number): boolean {
    const isKept = nowMs - this.#heardMs <= GIVEN_UP_MS
    this.#heardMs = nowMs
    return isKept
  }

  /** How long until it must be heard of again. */
  beatMs(nowMs: number): number {
    return Math.max(0, this.#heardMs + HEARTBEAT_MS - nowMs)
  }

  /** `startMs`: when the room's present minute began. False: it is another room than the last time. */
  stands(startMs: number): boolean {
    const minutes = (startMs - (this.#startMs ?? startMs)) / MINUTE_MS
    this.#startMs = startMs
    return Math.abs(minutes - Math.round(minutes)) * MINUTE_MS < 1
  }
}
