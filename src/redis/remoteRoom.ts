// One model's waiting room in Redis, as one gateway sees it. Calls of one turn of the event loop travel together; a grant
// made by another gateway's call arrives with the next reply, whoever's hint or timer brings it about.
//
// Any call that fails closes the room: everybody who waits here moves elsewhere, in order, and nobody comes in until `open`
// has succeeded. What the failed calls did or did not do is put right by then.
import type { Clock, Dice } from '../domain/clock.ts'
import { type AdmissionCode, admissionRefusal, type Busy } from '../domain/refusal.ts'
import { mostTokens, type RoomSettings } from '../domain/room.ts'
import { type RoomStatus, roomStatus } from '../domain/roomStatus.ts'
import type { Ask, Outcome, RoomLedger } from '../gateway/ports.ts'
import type { Presence } from '../gateway/presence.ts'
import { type Reason, ticketOf, Waiters } from '../gateway/waiters.ts'
import { Arrears } from './arrears.ts'
import { Batch, MOST_AT_ONCE } from './batch.ts'
import { Footing } from './footing.ts'
import { type Charge, type Reply, type RoomCalls, type Standing, UNKNOWN_BUSY } from './roomCalls.ts'
import { ServiceShare } from './serviceShare.ts'

export interface RemoteRoomParts {
  calls: RoomCalls
  gateway: string
  clock: Clock
  dice: Dice
  /** Runs the task at the end of this turn of the event loop. */
  soon: (task: () => void) => void
  onClosed: (reason: string) => void
}

/** Gateways that wait for the same moment do not all ask at once. */
const JITTER_MS = 5
/** One who waits looks again after so long at most: a hint may be lost. */
const LONGEST_NAP_MS = 1_000
const FIRST_MEASURE_MS = 1_000
const MEASURE_MS = 5_000
const MOST_FLOWS = 20

export class RemoteRoom implements RoomLedger {
  readonly #parts: RemoteRoomParts
  readonly #waiters: Waiters
  /** Granted here and not yet settled: another word of the same grant is no second grant. */
  readonly #held = new Set<string>()
  readonly #asks: Batch<Ask>
  readonly #charges: Batch<Charge>
  #settings: RoomSettings
  readonly arrears = new Arrears()
  readonly share: ServiceShare
  #isOpen = false
  /** How often the room has closed: what was asked before then is answered too late. */
  #closings = 0
  #isTicking = false
  #isHinted = false
  #footing: Footing
  #cancelMeasure: () => void = () => {}
  #cancelTick: () => void = () => {}

  constructor(settings: RoomSettings, parts: RemoteRoomParts) {
    this.#parts = parts
    this.#settings = settings
    this.share = new ServiceShare(settings.pools, parts.clock)
    this.#footing = new Footing(parts.clock.nowMs())
    this.#waiters = new Waiters(parts.clock)
    this.#asks = new Batch(parts.soon, asks => void this.#sendAsks(asks))
    this.#charges = new Batch(parts.soon, charges => void this.#sendCharges(charges))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Granted here, and not yet settled. */
  holds(ticketId: string): boolean {
    return this.#held.has(ticketId)
  }

  acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    if (presence.isGone) return Promise.resolve({ kind: 'left' })
    if (!this.#isOpen) return Promise.resolve({ kind: 'moved' })
    const outcome = this.#waiters.wait(ask, presence, reason => void this.#withdraw(ask, reason))
    this.#asks.add(ask)
    return outcome
  }

  requeue(ask: Ask, presence: Presence): Promise<Outcome> {
    this.#held.delete(ask.ticketId)
    if (presence.isGone || !this.#isOpen) {
      // Throttled, so spent all the same.
      this.#charges.add({ ticketId: ask.ticketId, tokens: ask.tokens })
      return Promise.resolve({ kind: presence.isGone ? 'left' : 'moved' })
    }
    const outcome = this.#waiters.wait(ask, presence, reason => void this.#withdraw(ask, reason))
    void this.#try(this.#parts.calls.requeue([ask.ticketId]), ({ results: [standing] }) => {
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

  /** Somebody has a turn, says a hint. */
  hint(): void {
    if (this.#isOpen && this.#waiters.size > 0) void this.#tick()
  }

  /**
   * Opens the room. After an absence (`drain`) nothing is known of what was spent meanwhile: no level stays above 0.
   * Rejects when Redis does not answer; then the room stays closed.
   */
  async open(drain: boolean): Promise<void> {
    const { calls, clock } = this.#parts
    const settings = this.#settings
    await calls.configure(settings)
    await this.arrears.tell(calls)
    // Last: what was just given back is not to be spent either.
    if (drain) await calls.drain()
    this.#isOpen = true
    this.#footing = new Footing(clock.nowMs())
    for (const charge of this.arrears.takeCharges()) this.#charges.add(charge)
    if (settings !== this.#settings) this.configure(this.#settings)
    void this.#tick()
    this.#measureLater(FIRST_MEASURE_MS)
  }

  async status(): Promise<RoomStatus> {
    return roomStatus(await this.#parts.calls.status(MOST_FLOWS))
  }

  /** Closes for good, or until opened again; everybody moves. */
  close(reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#closings += 1
    this.#cancelTick()
    this.#cancelMeasure()
    this.arrears.leave(this.#waiters.asks().map(ask => ask.ticketId))
    this.#parts.onClosed(reason)
    this.#waiters.moveAll()
  }

  /** For good: the others need not find out by themselves. */
  async leave(): Promise<void> {
    const wasOpen = this.#isOpen
    this.close('closing')
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
      this.#keepFooting()
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
      else if (reason === 'late') this.#grant(ask.ticketId, result!.pool)
      else {
        this.#leave(ask, reason)
        this.#giveBack(ask.ticketId)
      }
    })
  }

  #leave(ask: Ask, reason: Reason, busy = UNKNOWN_BUSY): void {
    if (reason === 'gone') this.#waiters.decide(ask.ticketId, { kind: 'left' })
    else this.#refuse(ask, 'wait-timeout', busy)
  }

  async #tick(): Promise<void> {
    if (this.#isTicking) {
      this.#isHinted = true // The answer on its way may be older.
      return
    }
    this.#isTicking = true
    this.#isHinted = false
    await this.#try(this.#parts.calls.tick(), () => this.#keepFooting())
    this.#isTicking = false
    if (this.#isHinted && this.#isOpen) void this.#tick()
  }

  #keepFooting(): void {
    if (!this.#footing.heard(this.#parts.clock.nowMs())) this.#askAgain()
  }

  /** For a place that is still there it only tells where that stands. */
  #askAgain(): void {
    for (const ask of this.#waiters.asks()) {
      this.#asks.remove(ask)
      this.#asks.add(ask)
    }
  }

  /** What this gateway would go by if Redis went away; and whether it is still the same room. */
  async #measure(): Promise<void> {
    const closings = this.#closings
    const snapshot = await this.#parts.calls.status(0).catch((error: Error) => error)
    if (closings !== this.#closings) return
    if (snapshot instanceof Error) return this.close(snapshot.message)
    this.share.measure(snapshot)
    if (!this.#footing.stands(snapshot.meter.startMs)) this.#askAgain()
    this.#measureLater(MEASURE_MS)
  }

  #measureLater(delayMs: number): void {
    this.#cancelMeasure = this.#parts.clock.after(delayMs, () => void this.#measure())
  }

  #stand(ask: Ask, standing: Standing): void {
    if (standing.kind === 'granted') this.#grant(ask.ticketId, standing.pool)
    else if (standing.kind === 'refused') this.#refuse(ask, standing.code, standing.busy)
    // Gone while it was asked for.
    else if (!this.#waiters.has(ask.ticketId)) void this.#withdraw(ask, 'gone')
  }

  #refuse(ask: Ask, code: AdmissionCode, busy: Busy): void {
    const refusal = admissionRefusal(code, busy, ask.tokens, mostTokens(this.#settings.pools))
    this.#waiters.decide(ask.ticketId, { kind: 'refused', refusal })
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
    this.#arm(reply.napMs)
  }

  /** One timer a room, however many wait. */
  #arm(napMs: number | undefined): void {
    this.#cancelTick()
    if (!this.#isOpen) return
    const { clock, dice } = this.#parts
    // Replies that are no sign of life to Redis must not put off the next one.
    const beatMs = this.#footing.beatMs(clock.nowMs())
    const delayMs = this.#waiters.size === 0 ? beatMs : Math.min(beatMs, napMs ?? LONGEST_NAP_MS)
    this.#cancelTick = clock.after(delayMs + 1 + dice() * JITTER_MS, () => void this.#tick())
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
