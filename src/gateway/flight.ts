// One call on behalf of all who asked for the same. It goes on while anybody takes part, here or at another replica; it
// waits in its leader's line, with the leader's deadline. What fails before its answer fails the leader only: the others
// try again together, once, led by the one with the most time left. After the head its fate is everybody's.
import type { Clock } from '../domain/clock.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Flights, Hearer, Lead } from './answerPorts.ts'
import type { PartEnd, Participant } from './participant.ts'
import type { Finished, FlowControl, Handler, Invocation, Notes } from './ports.ts'
import { Presence } from './presence.ts'
import { type Kept, Recording } from './recording.ts'

export interface FlightParts {
  inner: Handler
  clock: Clock
  /** Absent: there are no other replicas. */
  flights?: Flights | undefined
  kept: Kept
}

const LOST: Refusal = { code: 'upstream-cut', message: 'The gateway that made the call for all was lost.' }
const UNANSWERED: Refusal = { code: 'internal', message: 'The call that was made for all ended without an answer.' }

export class Flight implements Hearer {
  readonly #key: string
  readonly #parts: FlightParts
  readonly #whenClosed: () => void
  readonly #recording: Recording
  readonly #aboard = new Set<Participant>()
  /** That of the shared call: it leaves when nobody takes part any more. */
  readonly #presence = new Presence()
  #leader: Participant | undefined
  #lead: Lead | undefined
  #relay: Hearer | undefined
  /** Ends following another replica. */
  #stop: (() => void) | undefined
  #hasTakenOff = false
  #isClosed = false
  #isGranted = false
  /** Its last word was heard, or nobody wants to hear it. */
  #isOver = false

  /** `whenClosed`: nobody may board any more. */
  constructor(key: string, parts: FlightParts, whenClosed: () => void) {
    this.#key = key
    this.#parts = parts
    this.#whenClosed = whenClosed
    this.#recording = new Recording(parts.kept, () => this.#close())
  }

  /** The first to board sets it off. Not to be called once it has closed. */
  board(participant: Participant): Promise<PartEnd> {
    this.#aboard.add(participant)
    const end = participant.take(
      () => this.#gone(participant),
      () => participant.leave(),
    )
    if (this.#isGranted) participant.granted()
    else if (this.#aboard.size > 1 || this.#leader || this.#stop) participant.follow()
    this.#recording.attach(participant)
    if (!this.#hasTakenOff) void this.#takeOff()
    return end
  }

  async #takeOff(): Promise<void> {
    this.#hasTakenOff = true
    const { flights, inner } = this.#parts
    const boarding = flights ? await flights.board(this.#key) : undefined
    if (boarding?.kind === 'lead') this.#lead = boarding.lead
    this.#lead?.whenFollowed(relay => this.#relayTo(relay))
    const [leader] = this.#aboard
    if (!leader) {
      // All left meanwhile; whoever counted on it elsewhere is told.
      this.#over()
      this.#recording.cut()
      await this.#lead?.close()
    } else if (boarding?.kind === 'follow') {
      for (const participant of this.#aboard) participant.follow()
      this.#stop = boarding.follow(this, () => this.#lost())
    } else {
      this.#make(leader, invocation =>
        inner.handle({ ...invocation, presence: this.#presence, granted: () => this.granted() }, this),
      )
    }
  }

  #make(leader: Participant, call: (invocation: Invocation) => Promise<Finished>): void {
    this.#leader = leader
    const unanswered = () => {
      if (!this.#isOver) this.refuse(UNANSWERED)
    }
    leader.lead(call).then(unanswered, unanswered)
  }

  granted(): void {
    if (this.#isGranted) return
    this.#isGranted = true
    for (const participant of this.#aboard) participant.granted()
    this.#relay?.granted()
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.granted()
    if (isFailure(status)) {
      this.#close()
      this.#regroup(participant => participant.mayRetry('failure'))
    }
    this.#recording.head(status, headers, notes, flow)
  }

  data(chunk: Buffer): void {
    this.#recording.data(chunk)
  }

  end(): void {
    this.#over()
    this.#recording.end()
  }

  cut(): void {
    if (!this.#recording.hasHead) {
      this.#lost()
      return
    }
    this.#over()
    this.#recording.cut()
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    if (this.#recording.hasHead) {
      this.cut()
      return
    }
    this.#over()
    // The same bytes fit no better for anybody else.
    if (refusal.code !== 'cannot-fit') {
      const why = refusal.code === 'wait-timeout' ? 'wait' : 'failure'
      this.#regroup(participant => participant.mayRetry(why))
    }
    this.#recording.refuse(refusal, notes)
  }

  /** The replica that made the call is gone, or can't be heard. */
  #lost(): void {
    if (this.#isOver) return
    this.#over()
    if (this.#recording.hasHead) {
      this.#recording.cut()
      return
    }
    this.#regroup(participant => participant.mayLose())
    this.#recording.refuse(LOST, undefined)
  }

  /** The one with the most time left is the first to board the next flight, so it leads. */
  #regroup(may: (participant: Participant) => boolean): void {
    const others = [...this.#aboard].filter(participant => participant !== this.#leader && may(participant))
    for (const participant of others.sort((a, b) => b.deadlineMs - a.deadlineMs)) participant.regroup()
  }

  /** The other replicas hear it as one more reader does. */
  #relayTo(relay: Hearer): () => void {
    this.#relay = relay
    if (this.#isGranted) relay.granted()
    if (!this.#recording.attach(relay)) relay.cut()
    return () => this.#recording.detach(relay)
  }

  #gone(participant: Participant): void {
    this.#aboard.delete(participant)
    this.#recording.detach(participant)
    if (this.#aboard.size === 0 && !this.#isOver) void this.#deserted()
  }

  /** Nobody here takes part any more; when nobody elsewhere does either the call is given up. */
  async #deserted(): Promise<void> {
    await (this.#leader && this.#lead?.deserted())
    if (this.#aboard.size > 0 || this.#isOver) return
    this.#over()
    this.#recording.cut()
    this.#presence.leave()
  }

  #over(): void {
    this.#isOver = true
    this.#stop?.()
    this.#close()
  }

  /** What has passed is kept until it is known that nobody will ask for it. */
  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#whenClosed()
    const known = this.#lead?.close()
    if (known) void known.then(() => this.#recording.forget())
    else this.#recording.forget()
  }
}

/** Bedrock's own errors that another try may cure. */
function isFailure(status: number): boolean {
  return status === 429 || status >= 500
}
