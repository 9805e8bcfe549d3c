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
/** No client's name: those whose body has still to show who they are have one part together. */
export const UNPROVEN = ''

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
   * is declared. `client`: whose part of the room it is to take; absent: nobody shares it. What is admitted must be released.
   */
  admit(priority: Priority, declaredBytes: number, client?: string): Place | undefined {
    if (this.#lack(priority, REQUEST_BYTES + declaredBytes, 0, client)) return undefined
    const advanceBytes = Math.min(declaredBytes, ADVANCE_BYTES)
    this.enter(priority, REQUEST_BYTES + advanceBytes, 0, client)
    return new Place(this, priority, client, advanceBytes)
  }

  /** Counted. What one is told who was not admitted just now. */
  refusal(priority: Priority, declaredBytes: number, client?: string): Refusal {
    return this.refusalFor(this.#lack(priority, REQUEST_BYTES + declaredBytes, 0, client), priority, client)
  }

  refusalFor(lack: Lack | undefined, priority: Priority, client: string | undefined): Refusal {
    return lack === 'part' ? this.stage.refusalOf(holderOf(client)) : this.stage.refusal(priority)
  }

  /** For a request that holds `own` already. What is lacking, if anything is: nothing was taken then. */
  enter(priority: Priority, bytes: number, own: number, client: string | undefined): Lack | undefined {
    const lack = this.#lack(priority, bytes, own, client)
    if (lack) return lack
    this.stage.enter(priority, bytes)
    if (client !== undefined) this.#shares.took(client, bytes)
    return undefined
  }

  leave(bytes: number, client: string | undefined): void {
    this.stage.leave(bytes)
    if (client !== undefined) this.#shares.took(client, -bytes)
  }

  #lack(priority: Priority, bytes: number, own: number, client: string | undefined): Lack | undefined {
    const free = this.stage.free(priority)
    if (bytes > free) return 'room'
    return client === undefined || this.#shares.allows(client, bytes, own, free) ? undefined : 'part'
  }
}

/** `part`: there is room, and no more of it for this client. */
type Lack = 'room' | 'part'

function holderOf(client: string | undefined): string {
  return client === UNPROVEN ? 'Requests whose credentials are yet to be proven hold' : `The client ${client} holds`
}

/** One request's part. */
export class Place {
  readonly #receiving: Receiving
  readonly #priority: Priority
  readonly #client: string | undefined
  readonly #beganMs: number
  #bodyBytes: number
  #arrivedBytes = 0
  #lack: Lack | undefined
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
      this.#lack = this.#receiving.enter(this.#priority, more, REQUEST_BYTES + this.#bodyBytes, this.#client)
      if (this.#lack) return false
      this.#bodyBytes += more
    }
    this.#arrivedBytes += bytes
    return true
  }

  /** What one is told whose next bytes found no room. */
  refusal(): Refusal {
    return this.#receiving.refusalFor(this.#lack, this.#priority, this.#client)
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
