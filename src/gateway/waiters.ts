// Those of this process who wait for their turn. Each waits until it is decided: by a grant or a refusal, or because its
// deadline has passed, its client has left or no pool is open to it; the last three first have to be told to whoever keeps the line.
import type { Clock } from '../domain/clock.ts'
import { PRIORITIES } from '../domain/model.ts'
import type { TicketAsk } from '../domain/ticket.ts'
import type { Ask, Outcome } from './ports.ts'
import type { Presence } from './presence.ts'

/** A UUID has 36 characters; what is longer is no SDK's, and would be kept. */
const LONGEST_ID = 128

/** `shut`: it would not wait for a pool to open. */
export type Reason = 'late' | 'gone' | 'shut'

interface Waiter {
  ask: Ask
  decide(outcome: Outcome): void
  withdraw(reason: Reason): void
}

export class Waiters {
  readonly #clock: Clock
  readonly #waiting = new Map<string, Waiter>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#waiting.size
  }

  /** In the order in which they began to wait. */
  asks(): Ask[] {
    return [...this.#waiting.values()].map(waiter => waiter.ask)
  }

  has(ticketId: string): boolean {
    return this.#waiting.has(ticketId)
  }

  /** Resolves when decided. `withdraw` is called at most once, and must lead to a decision. */
  wait(ask: Ask, presence: Presence, withdraw: (reason: Reason) => void): Promise<Outcome> {
    return new Promise(resolve => {
      let asked = false
      const once = (reason: Reason) => {
        if (asked || !this.#waiting.has(ask.ticketId)) return
        asked = true
        withdraw(reason)
      }
      const cancelDeadline = this.#clock.after(Math.max(0, ask.deadlineMs - this.#clock.nowMs()), () => once('late'))
      this.#waiting.set(ask.ticketId, {
        ask,
        withdraw: once,
        decide(outcome) {
          cancelDeadline()
          presence.watch(undefined)
          resolve(outcome)
        },
      })
      if (presence.isGone) once('gone')
      else presence.watch(() => once('gone'))
    })
  }

  /** The ask that was decided; undefined when it does not wait here, or no longer. */
  decide(ticketId: string, outcome: Outcome): Ask | undefined {
    const waiter = this.#waiting.get(ticketId)
    if (!waiter) return undefined
    this.#waiting.delete(ticketId)
    waiter.decide(outcome)
    return waiter.ask
  }

  /** Those who would not wait for a pool to open, and for whom none is, leave. */
  withdrawShut(isShutTo: (ask: Ask) => boolean): void {
    for (const { ask, withdraw } of this.#waiting.values()) if (ask.refuseWhenShut && isShutTo(ask)) withdraw('shut')
  }

  /** Sends everybody to ask elsewhere, in order. */
  moveAll(): void {
    for (const ticketId of [...this.#waiting.keys()]) this.decide(ticketId, { kind: 'moved' })
  }
}

/** The ask as the engine knows it. */
export function ticketOf(ask: Ask, gateway: string): TicketAsk {
  const { ticketId, flow, weight, tokens, deadlineMs, sdkInvocationId } = ask
  const rank = PRIORITIES.indexOf(flow.priority)
  const ticket = { id: ticketId, rank, client: flow.client, weight, user: flow.user, tokens, deadlineMs, gateway }
  const isKnown = sdkInvocationId && sdkInvocationId.length <= LONGEST_ID
  return isKnown ? { ...ticket, invocation: sdkInvocationId } : ticket
}
