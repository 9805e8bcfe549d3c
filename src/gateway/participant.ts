// One invocation's part in a shared call. Whoever leads pays and has the line of the call itself; whoever follows has one of
// its own: no attempt, no charge, and the wait and first byte that it saw.
import type { Clock } from '../domain/clock.ts'
import { admissionRefusal, type Refusal } from '../domain/refusal.ts'
import type { Answer, Finished, FlowControl, Invocation, Notes } from './ports.ts'
import { newRun } from './run.ts'

/** How a part ends. `regroup`: without a byte, and somebody else is to lead. */
export type PartEnd = 'ended' | 'cut' | 'refused' | 'left' | 'regroup'

/** A turn may be on its way, whatever the deadline: the round trips to it are no wait. */
const GRACE_MS = 100
const COME_BACK_MS = 1_000
/** A replica that makes the call may die; so many of them may before a follower is told. */
const MOST_LOSSES = 3

export class Participant implements Answer {
  readonly invocation: Invocation
  readonly #answer: Answer
  readonly #clock: Clock
  readonly #arrivedMs: number
  #end: (end: PartEnd) => void = () => {}
  #forgetDeadline: () => void = () => {}
  /** Of the call it leads. */
  #run: Promise<Finished> | undefined
  /** Waited before it led. */
  #waitedMs = 0
  #turnMs: number | undefined
  #firstByteMs: number | undefined
  #status: number | undefined
  #pool: string | undefined
  #notes: Notes | undefined
  #refusal: Refusal | undefined
  #hasRetried = false
  #losses = 0

  constructor(invocation: Invocation, answer: Answer, clock: Clock) {
    this.invocation = invocation
    this.#answer = answer
    this.#clock = clock
    this.#arrivedMs = clock.nowMs()
  }

  get deadlineMs(): number {
    return this.#arrivedMs + this.invocation.maxWaitMs
  }

  /** Takes part from now on, until the promise resolves; `over` is told first. `leave`: the client went away. */
  take(over: () => void, leave: () => void): Promise<PartEnd> {
    const { promise, resolve } = Promise.withResolvers<PartEnd>()
    this.#turnMs = undefined
    this.#end = end => {
      this.#end = () => {}
      this.#forgetDeadline()
      this.invocation.presence.watch(undefined)
      over()
      resolve(end)
    }
    this.invocation.presence.watch(leave)
    return promise
  }

  /** What it leads, as its own invocation with what is left of its time. */
  lead(run: (invocation: Invocation) => Promise<Finished>): Promise<Finished> {
    this.#forgetDeadline()
    this.#waitedMs = Math.max(0, this.#clock.nowMs() - this.#arrivedMs)
    const maxWaitMs = Math.max(0, this.invocation.maxWaitMs - this.#waitedMs)
    this.#run = run({ ...this.invocation, maxWaitMs })
    return this.#run
  }

  /** It waits for another's turn, but not beyond its own deadline. */
  follow(): void {
    this.#forgetDeadline()
    this.#forgetDeadline = this.#clock.after(Math.max(GRACE_MS, this.deadlineMs - this.#clock.nowMs()), () => {
      this.refuse(admissionRefusal('wait-timeout', { short: 'requests', retryAfterMs: COME_BACK_MS }, 0, 0))
    })
  }

  /** The turn it waited for has come: however long the answer takes, it waits no longer. */
  granted(): void {
    this.#forgetDeadline()
    this.#turnMs ??= this.#clock.nowMs()
  }

  leave(): void {
    this.#end('left')
  }

  regroup(): void {
    this.#end('regroup')
  }

  /** Whether to try again after another's refusal: while its own time lasts when that one's was over, else once. */
  mayRetry(why: 'wait' | 'failure'): boolean {
    if (this.deadlineMs <= this.#clock.nowMs() || (why === 'failure' && this.#hasRetried)) return false
    if (why === 'failure') this.#hasRetried = true
    return true
  }

  mayLose(): boolean {
    this.#losses += 1
    return this.#losses <= MOST_LOSSES
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.granted()
    this.#firstByteMs = Math.max(0, this.#clock.nowMs() - this.#turnMs!)
    this.#status = status
    this.#pool = notes.pool
    this.#notes = notes
    this.#answer.head(status, headers, this.#own(notes), flow)
  }

  data(chunk: Buffer): void {
    this.#answer.data(chunk)
  }

  end(): void {
    this.#answer.end()
    this.#end('ended')
  }

  cut(): void {
    this.#answer.cut()
    this.#end('cut')
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    this.#refusal = refusal
    this.#pool = notes?.pool
    this.#answer.refuse(refusal, notes && this.#own(notes))
    this.#end('refused')
  }

  #own<Told extends Partial<Notes>>(notes: Told): Told {
    if (this.#run) return this.#waitedMs > 0 ? { ...notes, waitMs: (notes.waitMs ?? 0) + this.#waitedMs } : notes
    return { ...notes, waitMs: this.#waitMs, attempts: 0, coalesced: true }
  }

  get #waitMs(): number {
    return Math.max(0, (this.#turnMs ?? this.#clock.nowMs()) - this.#arrivedMs)
  }

  /** Resolves when the call it led, if it did, has ended too: that may outlast its own client. */
  async finished(end: PartEnd): Promise<Finished> {
    const run = await this.#run
    if (!run) return this.#followed(end)
    const led = { ...run, waitMs: run.waitMs + this.#waitedMs, totalMs: run.totalMs + this.#waitedMs }
    if (end === 'left') return { ...led, outcome: 'aborted', refusal: undefined }
    // The answer that the others got may be one that its own protocol cannot carry.
    if (end === 'refused' && led.outcome !== 'refused')
      return { ...led, outcome: 'refused', status: undefined, refusal: this.#refusal }
    return end === 'cut' ? { ...led, outcome: 'cut' } : led
  }

  #followed(end: PartEnd): Finished {
    return {
      ...newRun(this.invocation, this.#arrivedMs),
      pool: this.#pool,
      outcome: OUTCOMES[end],
      status: this.#status,
      refusal: end === 'refused' ? this.#refusal : undefined,
      waitMs: this.#waitMs,
      firstByteMs: this.#firstByteMs,
      totalMs: Math.max(0, this.#clock.nowMs() - this.#arrivedMs),
      fallback: this.#notes?.fallback,
      coalesced: true,
    }
  }
}

const OUTCOMES: Record<PartEnd, Finished['outcome']> = {
  ended: 'answered',
  cut: 'cut',
  refused: 'refused',
  left: 'aborted',
  regroup: 'refused',
}
