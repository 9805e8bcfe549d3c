// How many calls may be on their way to a pool at once from this process, and who waits for one of them to end: by class, then
// by arrival. The list is bounded: when it is full a newcomer takes the place of the newest of a lower class, or is refused.
// So a pool that has become slow holds up nobody else, and nothing piles up behind the connections.
import type { Clock } from '../domain/clock.ts'
import { PRIORITIES, type Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Presence } from './presence.ts'

export interface SendStageSettings {
  maxSendsPerPool: number
  /** Of each pool. */
  maxWaitingSends: number
}

export interface SendStageParts {
  settings: SendStageSettings
  clock: Clock
  /** Told how long each waited that got through, 0 included. */
  onEntered?: (waitMs: number) => void
}

export type Entrance = { kind: 'entered' } | { kind: 'refused'; refusal: Refusal } | { kind: 'left' }

const ENTERED: Entrance = { kind: 'entered' }
/** Over what time the rate of ends is measured. */
const METER_MS = 10_000
const LONGEST_RETRY_MS = 60_000
const SHORTEST_RETRY_MS = 100

export class SendStage {
  readonly #parts: SendStageParts
  /** By pool of the config. */
  readonly #lanes = new Map<string, Lane>()

  constructor(parts: SendStageParts) {
    this.#parts = parts
  }

  lane(model: string, pool: string): Lane {
    const name = `${model} ${pool}`
    let lane = this.#lanes.get(name)
    if (!lane) {
      lane = new Lane(this.#parts)
      this.#lanes.set(name, lane)
    }
    return lane
  }

  /** Of all pools: calls on their way, and who waits to be one. */
  get depth(): { sending: number; waiting: number } {
    let sending = 0
    let waiting = 0
    for (const lane of this.#lanes.values()) {
      sending += lane.sending
      waiting += lane.waiting
    }
    return { sending, waiting }
  }

  /** Of all pools that have been sent to: calls and those who wait to be one, and how many there may be. */
  reading(): { depth: number; limit: number } {
    const { sending, waiting } = this.depth
    const { maxSendsPerPool, maxWaitingSends } = this.#parts.settings
    return { depth: sending + waiting, limit: this.#lanes.size * (maxSendsPerPool + maxWaitingSends) }
  }
}

interface Waiter {
  sinceMs: number
  decide(entrance: Entrance): void
}

/** One pool's. Whoever has entered leaves exactly once. */
export class Lane {
  readonly #parts: SendStageParts
  #sending = 0
  #waiting = 0
  /** By class, high first; in each the longest-waiting first. */
  readonly #lines: Waiter[][] = PRIORITIES.map(() => [])
  /** Ends while somebody waited, and the time they took; both fade. */
  #ends = 0
  #endsMs = 0
  #lastMs = 0

  constructor(parts: SendStageParts) {
    this.#parts = parts
  }

  get sending(): number {
    return this.#sending
  }

  get waiting(): number {
    return this.#waiting
  }

  /** At once when there is room, which is the rule. */
  enter(priority: Priority, deadlineMs: number, presence: Presence): Entrance | Promise<Entrance> {
    if (presence.isGone) return { kind: 'left' }
    const { maxSendsPerPool, maxWaitingSends } = this.#parts.settings
    if (this.#sending < maxSendsPerPool) {
      this.#sending += 1
      this.#parts.onEntered?.(0)
      return ENTERED
    }
    const rank = PRIORITIES.indexOf(priority)
    if (this.#waiting >= maxWaitingSends && !this.#displace(rank))
      return { kind: 'refused', refusal: this.#overloaded() }
    return this.#wait(this.#lines[rank]!, deadlineMs, presence)
  }

  leave(): void {
    this.#sending -= 1
    if (this.#waiting > 0) this.#measure()
    for (const line of this.#lines) {
      const next = line[0]
      if (!next) continue
      if (this.#sending >= this.#parts.settings.maxSendsPerPool) return
      this.#sending += 1
      this.#parts.onEntered?.(Math.max(0, this.#parts.clock.nowMs() - next.sinceMs))
      next.decide(ENTERED)
      return
    }
  }

  #wait(line: Waiter[], deadlineMs: number, presence: Presence): Promise<Entrance> {
    const { clock } = this.#parts
    const nowMs = clock.nowMs()
    if (this.#waiting === 0) this.#lastMs = nowMs
    this.#waiting += 1
    return new Promise(resolve => {
      const waiter: Waiter = {
        sinceMs: nowMs,
        decide: entrance => {
          cancelDeadline()
          presence.watch(undefined)
          line.splice(line.indexOf(waiter), 1)
          this.#waiting -= 1
          resolve(entrance)
        },
      }
      const cancelDeadline = clock.after(Math.max(0, deadlineMs - nowMs), () =>
        waiter.decide({ kind: 'refused', refusal: this.#tooLate() }),
      )
      line.push(waiter)
      presence.watch(() => waiter.decide({ kind: 'left' }))
    })
  }

  /** Makes room for one of the class by refusing the newest of the lowest class below it. */
  #displace(rank: number): boolean {
    for (let lowest = this.#lines.length - 1; lowest > rank; lowest -= 1) {
      const newest = this.#lines[lowest]!.at(-1)
      if (!newest) continue
      newest.decide({ kind: 'refused', refusal: this.#overloaded() })
      return true
    }
    return false
  }

  #measure(): void {
    const nowMs = this.#parts.clock.nowMs()
    const gapMs = Math.max(0, nowMs - this.#lastMs)
    const kept = Math.exp(-gapMs / METER_MS)
    this.#ends = this.#ends * kept + 1
    this.#endsMs = this.#endsMs * kept + gapMs
    this.#lastMs = nowMs
  }

  /** How long all who wait will take at the rate at which calls have been ending, a present stall included. */
  #retryAfterMs(): number {
    const stallMs = Math.max(0, this.#parts.clock.nowMs() - this.#lastMs)
    const eachMs = (this.#endsMs + stallMs) / Math.max(1, this.#ends)
    return Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, Math.round((this.#waiting + 1) * eachMs)))
  }

  #overloaded(): Refusal {
    const message = 'Too many calls to Bedrock are on their way from this gateway, please wait before trying again.'
    return { code: 'overloaded', message, retryAfterMs: this.#retryAfterMs() }
  }

  #tooLate(): Refusal {
    const message = 'No call to Bedrock ended in time to make room for this one, please wait before trying again.'
    return { code: 'wait-timeout', message, retryAfterMs: this.#retryAfterMs() }
  }
}
