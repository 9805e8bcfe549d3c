// One model's waiting room whatever becomes of Redis. While Redis answers, all replicas share the room there. While it does
// not, this gateway keeps a room of its own with a part of each quota, and everybody who waits moves over, in order and
// with their deadlines; when Redis is back they move again. No request fails because Redis does.
import type { Clock } from '../domain/clock.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { RoomStatus } from '../domain/roomStatus.ts'
import type { Ask, Outcome, RoomLedger, StandIn } from '../gateway/ports.ts'
import type { Presence } from '../gateway/presence.ts'
import { LocalShare } from './localShare.ts'
import type { RemoteRoom } from './remoteRoom.ts'

export interface SharedRoomParts {
  clock: Clock
  /** Makes the room in Redis, told whom to tell when it closes. */
  remote: (onClosed: (reason: string) => void) => RemoteRoom
  standIn: StandIn
  /** Told when this gateway begins to be on its own (why), and when it no longer is (undefined). */
  onTrouble: (reason: string | undefined) => void
}

/** How often an absent Redis is looked for. */
const LOOK_MS = 250
/** A room that closed so soon after it was opened is opened later each time: every opening costs all of them their levels. */
const SHORT_MS = 5_000
const LONGEST_LOOK_MS = 4_000
/** How often the part of the quotas is reconsidered meanwhile. */
const RECONSIDER_MS = 1_000

export class SharedRoom implements RoomLedger {
  readonly #parts: SharedRoomParts
  readonly #remote: RemoteRoom
  #settings: RoomSettings
  #share: LocalShare | undefined
  #trouble: string | undefined = 'not connected yet'
  /** What this gateway used meanwhile, Redis does not know of. */
  #hasBeenAlone = false
  /** Where the last report came from: a step that came of it is no other room's. */
  #hasReportedThere = false
  #isClosed = false
  #openedMs = Number.NEGATIVE_INFINITY
  #lookMs = LOOK_MS
  #cancelLook: () => void = () => {}
  #cancelReconsider: () => void = () => {}

  constructor(settings: RoomSettings, parts: SharedRoomParts) {
    this.#settings = settings
    this.#parts = parts
    this.#remote = parts.remote(reason => this.#standAlone(reason))
  }

  /** Why this gateway is on its own; undefined when it is not. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Charges that Redis has not been told, because it was away. */
  get owed(): number {
    return this.#remote.arrears.owed
  }

  /** Resolves when Redis has been asked once, whatever it said; from then on the room looks after itself. */
  async start(): Promise<void> {
    await this.#look()
    if (!this.#remote.isOpen) this.#standAlone(this.#trouble!)
  }

  async acquire(ask: Ask, presence: Presence): Promise<Outcome> {
    for (;;) {
      const outcome = await this.#seat().acquire(ask, presence)
      if (outcome.kind !== 'moved') return outcome
    }
  }

  async requeue(ask: Ask, presence: Presence, chargedTokens?: number): Promise<Outcome> {
    // What failed otherwise says nothing of this gateway's share.
    if (chargedTokens === undefined) this.#share?.throttled(this.#parts.clock.nowMs())
    const isRemote = this.#remote.holds(ask.ticketId)
    if (!isRemote && this.#remote.isOpen) {
      // Granted while Redis was away: it waits in the line of all.
      this.#parts.standIn.settle(ask.ticketId, chargedTokens ?? ask.tokens)
      return this.acquire(ask, presence)
    }
    const outcome = await (isRemote ? this.#remote : this.#parts.standIn).requeue(ask, presence, chargedTokens)
    return outcome.kind === 'moved' ? this.acquire(ask, presence) : outcome
  }

  settle(ticketId: string, chargedTokens: number): boolean {
    return this.#remote.settle(ticketId, chargedTokens) || this.#parts.standIn.settle(ticketId, chargedTokens)
  }

  async report(news: PoolNews[]): Promise<Report> {
    this.#hasReportedThere = this.#remote.isOpen
    const report = this.#hasReportedThere ? await this.#remote.report(news) : undefined
    if (report) return report
    this.#hasReportedThere = false
    return this.#parts.standIn.report(news)
  }

  async steer({ state, pools }: Steering): Promise<void> {
    if (this.#hasReportedThere !== this.#remote.isOpen) return
    if (this.#remote.isOpen) return this.#remote.steer({ state, pools })
    // How fast it goes meanwhile is the share's to say.
    const gates = pools.map(one => ({ ...one, believed: {} }))
    return this.#parts.standIn.steer({ state, pools: gates })
  }

  configure(settings: RoomSettings): void {
    this.#settings = settings
    this.#remote.configure(settings)
    this.#parts.standIn.configure(settings)
    this.#applyShare()
  }

  status(): Promise<RoomStatus> {
    return this.#remote.isOpen
      ? this.#remote.status().catch(() => this.#parts.standIn.status())
      : this.#parts.standIn.status()
  }

  hint(): void {
    this.#remote.hint()
  }

  /** The link is gone: no call need fail first. */
  linkDown(reason: string): void {
    this.#remote.close(reason)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelLook()
    this.#cancelReconsider()
    await this.#remote.leave()
  }

  #seat(): Pick<RoomLedger, 'acquire'> {
    return this.#remote.isOpen ? this.#remote : this.#parts.standIn
  }

  #standAlone(reason: string): void {
    this.#trouble = reason
    if (this.#isClosed) return
    this.#hasBeenAlone = true
    this.#parts.onTrouble(reason)
    const isShort = this.#parts.clock.nowMs() - this.#openedMs < SHORT_MS
    this.#lookMs = isShort ? Math.min(2 * this.#lookMs, LONGEST_LOOK_MS) : LOOK_MS
    this.#parts.standIn.drain()
    this.#share = new LocalShare(this.#remote.share.last, this.#remote.share.gateways)
    this.#applyShare()
    this.#reconsiderLater()
    this.#lookLater()
  }

  async #look(): Promise<void> {
    try {
      await this.#remote.open(this.#hasBeenAlone)
    } catch (error) {
      this.#trouble = (error as Error).message
      return
    }
    if (this.#isClosed) return this.#remote.close('closing')
    this.#openedMs = this.#parts.clock.nowMs()
    this.#hasBeenAlone = false
    this.#trouble = undefined
    this.#share = undefined
    this.#cancelReconsider()
    this.#parts.onTrouble(undefined)
    this.#parts.standIn.moveAll()
  }

  #lookLater(): void {
    this.#cancelLook()
    this.#cancelLook = this.#parts.clock.after(this.#lookMs, async () => {
      await this.#look()
      if (!this.#remote.isOpen && !this.#isClosed) this.#lookLater()
    })
  }

  #reconsiderLater(): void {
    this.#cancelReconsider()
    this.#cancelReconsider = this.#parts.clock.after(RECONSIDER_MS, () => {
      this.#share?.pass(RECONSIDER_MS, this.#parts.standIn.waiting > 0)
      this.#applyShare()
      this.#reconsiderLater()
    })
  }

  #applyShare(): void {
    const share = this.#share?.share
    if (share === undefined) return
    const part = (quota: number | undefined) => (quota === undefined ? undefined : quota * share)
    for (const { name, requestsPerMinute, tokensPerMinute } of this.#settings.pools)
      this.#parts.standIn.setPace(name, {
        requestsPerMinute: part(requestsPerMinute),
        tokensPerMinute: part(tokensPerMinute),
      })
  }
}
