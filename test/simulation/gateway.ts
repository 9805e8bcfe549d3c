// One simulated replica: it asks the ledger over a network that takes its time, waits for turns, cancels at deadlines, sends
// upstream, settles. With waiters it keeps one jittered timer, so that a lost announcement costs a moment and no turn.
import type { Entry } from '../../src/domain/room.ts'
import type { Answer, SimulatedLedger } from './ledger.ts'
import type { Size } from './requests.ts'
import type { VirtualTime } from './virtualTime.ts'

export interface Call {
  id: string
  rank: number
  client: string
  weight: number
  user: string
  size: Size
  /** Infinity: as long as it takes. */
  maxWaitMs: number
  /** Its turn has come, `waitMs` since it was sent. When the upstream throttles it, it will have another. */
  onTurn(waitMs: number, isThrottled: boolean): void
  onEnded(ending: Ending): void
}

/** `lost`: its gateway died. `forgotten`: it waited to its deadline for a ticket the ledger knew nothing of. */
export type Ending = 'answered' | 'refused' | 'timed-out' | 'given-back' | 'lost' | 'forgotten'

export interface Surroundings {
  time: VirtualTime
  ledger: SimulatedLedger
  /** Whether the upstream throttles a request to the pool now. */
  throttles(pool: string, size: Size): boolean
  /** How long it takes to say so. */
  throttledAfterMs: number
  /** Whether deadlines go over the wire as the gateway's own clock has them, not as time left. */
  hasOwnDeadlines: boolean
}

type Phase = 'waiting' | 'running'

interface Standing {
  call: Call
  phase: Phase
  sentMs: number
  cancelDeadline: () => void
}

const SHORTEST_TRIP_MS = 0.2
const LONGEST_TRIP_MS = 1.5
const MOST_JITTER_MS = 10
const LONGEST_NAP_MS = 1_000

export class SimulatedGateway {
  readonly name: string
  /** How far its clock is ahead of true time. */
  clockAheadMs = 0
  isAlive = true
  /** How many of its calls ended so. */
  forgotten = 0
  readonly #world: Surroundings
  readonly #calls = new Map<string, Standing>()
  #waiting = 0
  #isConnected = true
  #cancelTimer: () => void = () => {}
  /** When the last message arrives, each way: one connection keeps their order. */
  #thereMs = 0
  #backMs = 0

  constructor(name: string, world: Surroundings) {
    this.name = name
    this.#world = world
  }

  get openCalls(): number {
    return this.#calls.size
  }

  send(call: Call): void {
    const standing: Standing = { call, phase: 'waiting', sentMs: this.#world.time.nowMs, cancelDeadline: () => {} }
    this.#calls.set(call.id, standing)
    this.#startWaiting(standing)
    this.#acquire(standing)
  }

  /** Somebody else's call handed it a turn. */
  hear(): void {
    if (!this.isAlive) return
    this.#ask(
      () => this.#world.ledger.collect(this.name),
      () => {},
    )
  }

  /** The process is gone: its waiters and what runs are lost, and nobody settles. */
  kill(): void {
    this.isAlive = false
    this.#cancelTimer()
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const { call, cancelDeadline } of calls) {
      cancelDeadline()
      call.onEnded('lost')
    }
  }

  /** The ledger is away. */
  disconnect(): void {
    this.#isConnected = false
  }

  /** The ledger is back and knows nothing: it asks again for all that wait. */
  reconnect(): void {
    this.#isConnected = true
    for (const standing of this.#calls.values()) if (standing.phase === 'waiting') this.#acquire(standing)
  }

  #acquire(standing: Standing): void {
    const { call } = standing
    const { time, ledger, hasOwnDeadlines } = this.#world
    const endMs = standing.sentMs + call.maxWaitMs
    const ownDeadlineMs = ledger.nowMs - ledger.clockAheadMs + this.clockAheadMs + endMs - time.nowMs
    const { id, rank, client, weight, user } = call
    const ask = { id, rank, client, weight, user, tokens: call.size.reservedTokens, gateway: this.name }
    this.#ask(
      () => ledger.acquire(ask, hasOwnDeadlines ? ownDeadlineMs : ledger.nowMs + endMs - time.nowMs),
      entry => this.#entered(standing, entry),
    )
  }

  #entered(standing: Standing, entry: Entry): void {
    if (standing.phase !== 'waiting') return
    if (entry.kind === 'granted') this.#granted(standing.call.id, entry.pool)
    else if (entry.kind === 'refused') this.#end(standing, 'refused')
  }

  #granted(ticketId: string, pool: string): void {
    const standing = this.#calls.get(ticketId)
    // A turn nobody waits for any more goes back whole.
    if (!standing) this.#settle(ticketId, 0)
    if (standing?.phase !== 'waiting') return
    this.#stopWaiting(standing)
    standing.phase = 'running'
    const { time } = this.#world
    const { call } = standing
    const isThrottled = this.#world.throttles(pool, call.size)
    call.onTurn(time.nowMs - standing.sentMs, isThrottled)
    if (isThrottled) time.after(this.#world.throttledAfterMs, () => this.#comeBack(standing))
    else time.after(call.size.durationMs, () => this.#answered(standing))
  }

  #answered(standing: Standing): void {
    if (!this.isAlive) return
    this.#calls.delete(standing.call.id)
    this.#settle(standing.call.id, standing.call.size.chargedTokens)
    standing.call.onEnded('answered')
  }

  #comeBack(standing: Standing): void {
    if (!this.isAlive) return
    standing.phase = 'waiting'
    this.#startWaiting(standing)
    this.#ask(
      () => this.#world.ledger.requeue(this.name, standing.call.id),
      entry => {
        if (!entry) this.#acquire(standing)
        else if (entry.kind === 'refused') this.#end(standing, 'given-back')
        else this.#entered(standing, entry)
      },
    )
  }

  #settle(ticketId: string, chargedTokens: number): void {
    this.#ask(
      () => this.#world.ledger.settle(this.name, ticketId, chargedTokens),
      () => {},
    )
  }

  #startWaiting(standing: Standing): void {
    this.#waiting += 1
    const { call, sentMs } = standing
    if (call.maxWaitMs === Number.POSITIVE_INFINITY) return
    const leftMs = sentMs + call.maxWaitMs - this.#world.time.nowMs
    standing.cancelDeadline = this.#world.time.after(leftMs, () => this.#giveUp(standing))
  }

  #stopWaiting(standing: Standing): void {
    this.#waiting -= 1
    standing.cancelDeadline()
  }

  #giveUp(standing: Standing): void {
    if (!this.#isConnected) {
      this.#end(standing, 'timed-out')
      return
    }
    this.#ask(
      () => this.#world.ledger.cancel(this.name, standing.call.id),
      isOut => {
        if (standing.phase === 'waiting' && this.#calls.has(standing.call.id))
          this.#end(standing, isOut ? 'timed-out' : 'forgotten')
      },
      () => this.#end(standing, 'timed-out'),
    )
  }

  #end(standing: Standing, ending: Ending): void {
    if (!this.#calls.delete(standing.call.id)) return
    this.#stopWaiting(standing)
    if (ending === 'forgotten') this.forgotten += 1
    standing.call.onEnded(ending)
  }

  /** One round trip. `onLost`: the ledger died over it. */
  #ask<T>(verb: () => Answer<T>, onReply: (result: T) => void, onLost: () => void = () => {}): void {
    const { time, ledger } = this.#world
    const { generation } = ledger
    this.#thereMs = Math.max(this.#thereMs, time.nowMs + this.#tripMs())
    time.after(this.#thereMs - time.nowMs, () => {
      if (ledger.generation !== generation) return onLost()
      const answer = verb()
      this.#backMs = Math.max(this.#backMs, time.nowMs + this.#tripMs())
      time.after(this.#backMs - time.nowMs, () => {
        if (!this.isAlive) return
        if (ledger.generation !== generation) return onLost()
        for (const grant of answer.grants) this.#granted(grant.ticketId, grant.pool)
        onReply(answer.result)
        this.#nap(answer.napMs)
      })
    })
  }

  #tripMs(): number {
    return this.#world.time.chance.between(SHORTEST_TRIP_MS, LONGEST_TRIP_MS)
  }

  #nap(napMs: number | undefined): void {
    this.#cancelTimer()
    if (this.#waiting === 0) return
    const { time, ledger } = this.#world
    const delayMs = Math.min(napMs ?? LONGEST_NAP_MS, LONGEST_NAP_MS) + time.chance.between(0, MOST_JITTER_MS)
    this.#cancelTimer = time.after(delayMs, () => {
      this.#ask(
        () => ledger.tick(this.name),
        () => {},
        () => this.#nap(undefined),
      )
    })
  }
}
