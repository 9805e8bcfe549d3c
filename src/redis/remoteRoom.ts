// One model's waiting room in Redis, as one gateway sees it. Calls of one turn of the event loop travel together; a grant
// made by another gateway's call arrives with the next reply, whoever's hint or timer brings it about.
//
// Any call that fails closes the room: everybody who waits here moves elsewhere, in order, and nobody comes in until `open`
// has succeeded. What the failed calls did or did not do is put right by then.
import type { Clock, Dice } from '../domain/clock.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import { type AdmissionCode, admissionRefusal, type Busy, WHEN_SHUT } from '../domain/refusal.ts'
import { mostTokens, type RoomSettings } from '../domain/room.ts'
import { type RoomStatus, roomStatus } from '../domain/roomStatus.ts'
import type { Ask, Outcome, RoomLedger } from '../gateway/ports.ts'
import type { Presence } from '../gateway/presence.ts'
import { type Reason, ticketOf, Waiters } from '../gateway/waiters.ts'
import { Arrears } from './arrears.ts'
import { Batch, MOST_AT_ONCE } from './batch.ts'
import { Gates } from './gates.ts'
import { Lookout } from './lookout.ts'
import { Pulse } from './pulse.ts'
import { type Charge, type Reply, type RoomCalls, type Standing, UNKNOWN_BUSY } from './roomCalls.ts'
import type { ServiceShare } from './serviceShare.ts'

export interface RemoteRoomParts {
  calls: RoomCalls
  gateway: string
  clock: Clock
  dice: Dice
  /** Runs the task at the end of this turn of the event loop. */
  soon: (task: () => void) => void
  onClosed: (reason: string) => void
}

/** One who waits looks again after so long at most: a hint may be lost. */
const LONGEST_NAP_MS = 1_000
const MOST_FLOWS = 20

export class RemoteRoom implements Omit<RoomLedger, 'report'> {
  readonly #parts: RemoteRoomParts
  readonly #waiters: Waiters
  /** Granted here and not yet settled: another word of the same grant is no second grant. */
  readonly #held = new Set<string>()
  readonly #asks: Batch<Ask>
  readonly #charges: Batch<Charge>
  #settings: RoomSettings
  readonly arrears = new Arrears()
  readonly #lookout: Lookout
  readonly #gates = new Gates()
  readonly #pulse: Pulse
  #isOpen = false
  /** How often the room has closed: what was asked before then is answered too late. */
  #closings = 0

  constructor(settings: RoomSettings, parts: RemoteRoomParts) {
    this.#parts = parts
    this.#settings = settings
    this.#lookout = new Lookout(settings.pools, {
      clock: parts.clock,
      look: () => parts.calls.status(0),
      onFault: reason => this.close(reason),
      onLost: () => this.#askAgain(),
    })
    this.#waiters = new Waiters(parts.clock)
    this.#pulse = new Pulse({
      clock: parts.clock,
      dice: parts.dice,
      tick: () => this.#try(parts.calls.tick(), () => this.#lookout.heard()),
      isOpen: () => this.#isOpen,
    })
    this.#asks = new Batch(parts.soon, asks => this.#sendAsks(asks))
    this.#charges = new Batch(parts.soon, charges => this.#sendCharges(charges))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** What this gateway would go by if Redis went away. */
  get share(): ServiceShare {
    return this.#lookout.share
  }

  /** Granted here, and not yet settled. */
  holds(ticketId: string): boolean {
    return this.#held.has(ticketId)
  }

  acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    if (presence.isGone) return Promise.resolve({ kind: 'left' })
    if (!this.#isOpen) return Promise.resolve({ kind: 'moved' })
    if (this.#gates.areShutTo(ask)) return Promise.resolve(this.#refusal(ask, 'no-pool-open', WHEN_SHUT))
    const outcome = this.#waiters.wait(ask, presence, reason => void this.#withdraw(ask, reason))
    this.#asks.add(ask)
    return outcome
  }

  requeue(ask: Ask, presence: Presence, chargedTokens?: number): Promise<Outcome> {
    this.#held.delete(ask.ticketId)
    if (presence.isGone || !this.#isOpen || this.#gates.areShutTo(ask)) {
      this.#charges.add({ ticketId: ask.ticketId, tokens: chargedTokens ?? ask.tokens })
      // The same again, but that it holds nothing any more.
      return this.acquire(ask, presence)
    }
    const outcome = this.#waiters.wait(ask, presence, reason => void this.#withdraw(ask, reason))
    void this.#try(this.#parts.calls.requeue(ask.ticketId, chargedTokens), ({ results: [standing] }) => {
      // The state was lost meanwhile: like a newcomer, then.
      if (standing!.kind === 'unknown') this.#asks.add(ask)
      else this.#stand(ask, standing!)
    })
    return outcome
  }

  settle(ticketId: string, tokens: number): boolean {
    if (!this.#held.delete(ticketId)) return false
    this.#charges.add({ ticketId, tokens })
    return true
  }

  configure(settings: RoomSettings): void {
    this.#settings = settings
    this.share.configure(settings.pools)
    if (this.#isOpen) void this.#try(this.#parts.calls.configure(settings))
  }

  /** Undefined: the room has closed instead, and whether the news has arrived nobody knows. */
  async report(news: PoolNews[]): Promise<Report | undefined> {
    let report: Report | undefined
    await this.#try(this.#parts.calls.report(news), ({ results: [told] }) => {
      this.#lookout.heard()
      report = told!
      this.#gates.hear(report, this.#settings.pools)
      this.#waiters.withdrawShut(ask => this.#gates.areShutTo(ask))
    })
    return report
  }

  async steer(steering: Steering): Promise<void> {
    await this.#try(this.#parts.calls.steer(steering))
  }

  /** Somebody has a turn, says a hint. */
  hint(): void {
    if (this.#isOpen && this.#waiters.size > 0) void this.#pulse.beat()
  }

  /**
   * Opens the room. After an absence (`drain`) nothing is known of what was spent meanwhile: no level stays above 0.
   * Rejects when Redis does not answer; then the room stays closed.
   */
  async open(drain: boolean): Promise<void> {
    const { calls } = this.#parts
    const settings = this.#settings
    await calls.configure(settings)
    await this.arrears.tell(calls)
    // Last: what was just given back is not to be spent either.
    if (drain) await calls.drain()
    this.#isOpen = true
    for (const charge of this.arrears.takeCharges()) this.#charges.add(charge)
    if (settings !== this.#settings) this.configure(this.#settings)
    void this.#pulse.beat()
    this.#lookout.start()
  }

  async status(): Promise<RoomStatus> {
    return roomStatus(await this.#parts.calls.status(MOST_FLOWS))
  }

  /** Closes for good, or until opened again; everybody moves. */
  close(reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#closings += 1
    this.#gates.forget()
    this.#pulse.stop()
    this.#lookout.stop()
    this.arrears.leave(this.#waiters.asks().map(ask => ask.ticketId))
    this.#parts.onClosed(reason)
    this.#waiters.moveAll()
  }

  /** For good: the others need not find out by themselves. */
  async leave(): Promise<void> {
    const wasOpen = this.#isOpen
    this.close('closing')
    // What these cannot tell any more is owed.
    await Promise.all([this.#asks.answered(), this.#charges.answered()])
    this.arrears.owe(this.#charges.take())
    if (wasOpen) await this.arrears.tell(this.#parts.calls).catch(() => {})
  }

  async #sendAsks(asks: Ask[]): Promise<void> {
    const waiting = asks.filter(ask => this.#waiters.has(ask.ticketId))
    if (waiting.length === 0 || !this.#isOpen) return
    const { calls, clock, gateway } = this.#parts
    const tickets = waiting.map(ask => ticketOf(ask, gateway))
    const charges = this.#charges.take(MOST_AT_ONCE)
    const told = await this.#try(calls.acquire(tickets, clock.nowMs(), charges), reply => {
      this.#lookout.heard()
      for (const [index, ask] of waiting.entries()) this.#stand(ask, reply.results[index]!)
    })
    if (!told) this.arrears.owe(charges)
  }

  async #sendCharges(charges: Charge[]): Promise<void> {
    // They go along with the asks of the same turn, which are sent next.
    if (this.#isOpen && this.#asks.size > 0) {
      for (const charge of charges) this.#charges.add(charge)
      return
    }
    const told = this.#isOpen && (await this.#try(this.#parts.calls.settle(charges)))
    if (!told) this.arrears.owe(charges)
  }

  /** Out of the line before the refusal is made: the ticket itself is no part of the wait it is told. */
  async #withdraw(ask: Ask, reason: Reason): Promise<void> {
    if (this.#asks.remove(ask)) return this.#leave(ask, reason)
    await this.#try(this.#parts.calls.cancel([ask.ticketId]), ({ results: [result] }) => {
      if (result!.kind === 'left') this.#leave(ask, reason, result!.busy)
      else if (reason !== 'gone') this.#grant(ask.ticketId, result!.pool)
      else {
        this.#leave(ask, reason)
        this.#giveBack(ask.ticketId)
      }
    })
  }

  #leave(ask: Ask, reason: Reason, busy = UNKNOWN_BUSY): void {
    if (reason === 'gone') this.#waiters.decide(ask.ticketId, { kind: 'left' })
    else if (reason === 'shut') this.#refuse(ask, 'no-pool-open', WHEN_SHUT)
    else this.#refuse(ask, 'wait-timeout', busy)
  }

  /** For a place that is still there it only tells where that stands. */
  #askAgain(): void {
    for (const ask of this.#waiters.asks()) {
      this.#asks.remove(ask)
      this.#asks.add(ask)
    }
  }

  #stand(ask: Ask, standing: Standing): void {
    if (standing.kind === 'granted') this.#grant(ask.ticketId, standing.pool)
    else if (standing.kind === 'refused') this.#refuse(ask, standing.code, standing.busy)
    // Gone while it was asked for.
    else if (!this.#waiters.has(ask.ticketId)) void this.#withdraw(ask, 'gone')
  }

  #refuse(ask: Ask, code: AdmissionCode, busy: Busy): void {
    this.#waiters.decide(ask.ticketId, this.#refusal(ask, code, busy))
  }

  #refusal(ask: Ask, code: AdmissionCode, busy: Busy): Outcome {
    const refusal = admissionRefusal(code, busy, ask.tokens, mostTokens(this.#settings.pools))
    return { kind: 'refused', refusal }
  }

  /** A grant that nobody waits for any more is given back whole. */
  #grant(ticketId: string, pool: string): void {
    if (this.#held.has(ticketId)) return
    const ask = this.#waiters.decide(ticketId, { kind: 'granted', pool })
    if (ask) {
      this.#held.add(ticketId)
      this.share.served(ask.tokens)
    } else this.#giveBack(ticketId)
  }

  #giveBack(ticketId: string): void {
    this.#charges.add({ ticketId, tokens: 0 })
  }

  /** What every reply brings: turns, and when to ask again. */
  #heard(reply: Reply<unknown>): void {
    for (const { ticketId, pool } of reply.grants) this.#grant(ticketId, pool)
    this.#pulse.stop()
    if (!this.#isOpen) return
    // Replies that are no sign of life to Redis must not put off the next one.
    const { beatMs } = this.#lookout
    const delayMs = this.#waiters.size === 0 ? beatMs : Math.min(beatMs, reply.napMs ?? LONGEST_NAP_MS)
    this.#pulse.set(delayMs)
  }

  /** Whether the call got through; if not, the room is closed. What it brings is for a room that has not closed since. */
  async #try<Result>(
    asking: Promise<Reply<Result>>,
    take: (reply: Reply<Result>) => void = () => {},
  ): Promise<boolean> {
    const closings = this.#closings
    try {
      const reply = await asking
      if (closings !== this.#closings) return true
      take(reply)
      this.#heard(reply)
      return true
    } catch (error) {
      if (closings === this.#closings) this.close((error as Error).message)
      return false
    }
  }
}
