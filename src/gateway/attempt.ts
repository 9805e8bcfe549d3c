// One send and what became of it. What the upstream says goes straight on to the client; a throttle or a failure before the
// first byte is held back, because the client need never hear of it. When its client leaves, the call ends or runs on unheard.
import type { Usage } from '../domain/charge.ts'
import type { Refusal } from '../domain/refusal.ts'
import { LOOP_DETECTED } from '../wire/via.ts'
import type { Answer, Call, Finished, FlowControl, Notes, Receiver, ThrottleSubject, WholeReply } from './ports.ts'
import type { Presence } from './presence.ts'
import type { SendSignal } from './signals.ts'
import type { SendEnding } from './tracePorts.ts'
import type { Unattended } from './unattended.ts'

/** Bedrock's own words, or ours when it said nothing. */
type Held = { reply: WholeReply } | { refusal: Refusal; sent: boolean }

type State =
  | { kind: 'sent' }
  | { kind: 'answering'; status: number; hasBody: boolean }
  | { kind: 'answered'; status: number; usage: Usage | undefined; exception: string | undefined }
  | { kind: 'throttled'; reply: WholeReply; of: ThrottleSubject }
  | { kind: 'failed'; held: Held; isFinal: boolean }
  | { kind: 'cut'; status: number; refusal: Refusal }
  | { kind: 'aborted'; sent: boolean }

const NO_FLOW: FlowControl = { pause() {}, resume() {} }
const NOBODY: Answer = { head() {}, data() {}, end() {}, cut() {}, refuse() {} }
const NO_HEADERS: string[] = []
export const UNSENDABLE: Refusal = {
  code: 'upstream-invalid',
  message: 'Bedrock sent an answer that is not valid HTTP.',
}

export class Attempt implements Receiver, FlowControl {
  #answer: Answer
  readonly #notes: Notes
  readonly #firstByte: () => void
  /** Absent: nobody learns from this call. */
  readonly #signal: SendSignal | undefined
  /** Absent: it ends when its client leaves. */
  readonly #unattended: Unattended | undefined
  #flow = NO_FLOW
  #state: State = { kind: 'sent' }
  #hadHead = false
  #ended: () => void = () => {}

  constructor(
    answer: Answer,
    notes: Notes,
    firstByte: () => void,
    signal: SendSignal | undefined,
    unattended?: Unattended,
  ) {
    this.#answer = answer
    this.#notes = notes
    this.#firstByte = firstByte
    this.#signal = signal
    this.#unattended = unattended
  }

  /** Runs `send` and resolves when the attempt has ended; a client that leaves ends it too, unless it may run on. */
  async over(presence: Presence, send: () => Call): Promise<void> {
    if (presence.isGone) {
      this.#state = { kind: 'aborted', sent: false }
      this.#signal?.abandoned()
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = resolve
    const call = send()
    presence.watch(() => this.#left(call))
    await promise
    presence.watch(undefined)
  }

  #left(call: Call): void {
    if (this.#isOver()) return
    const ranOn = call.isSent ? this.#unattended?.take(() => this.#abort(call)) : undefined
    if (!ranOn) {
      this.#abort(call)
      return
    }
    const ended = this.#ended
    this.#ended = () => {
      ranOn()
      ended()
    }
    this.#answer.left?.()
    this.#answer = NOBODY
    this.#flow.resume()
  }

  #abort(call: Call): void {
    if (this.#isOver()) return
    if (this.#state.kind === 'sent') this.#signal?.abandoned()
    this.#state = { kind: 'aborted', sent: call.isSent }
    call.abandon()
    this.#ended()
  }

  /** Asked for by whoever holds its bytes; once nobody does, they flow. */
  pause(): void {
    if (!this.#isUnheard) this.#flow.pause()
  }

  resume(): void {
    this.#flow.resume()
  }

  get usage(): Usage | undefined {
    return this.#state.kind === 'answered' ? this.#state.usage : undefined
  }

  /** By a quota that fills again: its turn will come. */
  get isThrottled(): boolean {
    return this.#state.kind === 'throttled' && this.#state.of !== 'day'
  }

  /** Before a byte has reached the client, by nothing that would come again for sure. */
  get isRepeatable(): boolean {
    return this.#state.kind === 'failed' && !this.#state.isFinal
  }

  /** The call was on its way and nothing came back: whatever it asked for may have been done. */
  get isDoubtful(): boolean {
    return this.#state.kind === 'failed' && !('reply' in this.#state.held) && this.#state.held.sent
  }

  /** Of the reply that is held back. */
  get heldHeaders(): string[] {
    return this.#state.kind === 'failed' && 'reply' in this.#state.held ? this.#state.held.reply.headers : NO_HEADERS
  }

  /** Bedrock charges nothing for a call it answered with an error, nor for one that was never sent. */
  get chargesNothing(): boolean {
    const state = this.#state
    if (state.kind === 'answered') return state.status >= 400
    if (state.kind === 'throttled') return state.of === 'day'
    if (state.kind === 'failed') return !this.isDoubtful
    return state.kind === 'aborted' && !state.sent
  }

  head(status: number, headers: string[], flow: FlowControl): void {
    if (this.#isOver()) return
    this.#hadHead = true
    this.#flow = flow
    // A head that cannot be written throws here, and the client is refused instead.
    this.#answer.head(status, headers, this.#notes, this)
    this.#state = { kind: 'answering', status, hasBody: false }
    this.#signal?.accepted()
    this.#firstByte()
  }

  data(chunk: Buffer): void {
    const state = this.#state
    if (this.#isOver()) return
    this.#answer.data(chunk)
    if (state.kind !== 'answering' || state.hasBody) return
    state.hasBody = true
    this.#judge(state.status)
  }

  end(usage: Usage | undefined, exception?: string): void {
    const state = this.#state
    if (state.kind !== 'answering') return
    if (!state.hasBody) this.#judge(state.status)
    this.#state = { kind: 'answered', status: state.status, usage, exception }
    this.#answer.end()
    this.#ended()
  }

  throttled(reply: WholeReply, of: ThrottleSubject): void {
    if (this.#isOver()) return
    this.#state = { kind: 'throttled', reply, of }
    this.#signal?.throttled(of)
    this.#ended()
  }

  errored(reply: WholeReply): void {
    if (this.#isOver()) return
    this.#state = { kind: 'failed', held: { reply }, isFinal: false }
    this.#judge(reply.status)
    this.#firstByte()
    this.#ended()
  }

  failed(refusal: Refusal, sent: boolean): void {
    const state = this.#state
    if (this.#isOver()) return
    if (state.kind === 'answering') {
      if (!state.hasBody) this.#signal?.failed(true)
      this.#state = { kind: 'cut', status: state.status, refusal }
      this.#answer.cut()
    } else {
      this.#signal?.failed(false)
      this.#state = { kind: 'failed', held: { refusal, sent }, isFinal: this.#hadHead }
    }
    this.#ended()
  }

  /** What was held back, now that the client must hear it; nothing otherwise. `retryAfterMs` adds when to come back. */
  deliver(run: Finished, retryAfterMs?: number): void {
    const state = this.#state
    if (state.kind !== 'throttled' && state.kind !== 'failed') return
    if (state.kind === 'throttled') this.#deliverReply(state.reply, run, retryAfterMs)
    else if ('reply' in state.held) this.#deliverReply(state.held.reply, run)
    else this.#refuse(state.held.refusal, run)
  }

  #deliverReply({ status, headers, body }: WholeReply, run: Finished, retryAfterMs?: number): void {
    const notes = retryAfterMs === undefined ? this.#notes : { ...this.#notes, retryAfterMs }
    try {
      this.#answer.head(status, headers, notes, NO_FLOW)
    } catch {
      this.#refuse(UNSENDABLE, run)
      return
    }
    run.outcome = 'answered'
    run.status = status
    if (body.length > 0) this.#answer.data(body)
    this.#answer.end()
  }

  #refuse(refusal: Refusal, run: Finished): void {
    run.outcome = 'refused'
    run.refusal = refusal
    this.#answer.refuse(refusal, this.#notes)
  }

  /** Writes down what reached the client, and what Bedrock said it used whether or not anybody heard it. */
  report(run: Finished): void {
    const state = this.#state
    if (state.kind === 'answered') {
      run.usage = state.usage
      run.exception = state.exception
    }
    if (this.#isUnheard) return
    if (state.kind === 'answered') {
      run.outcome = 'answered'
      run.status = state.status
    } else if (state.kind === 'cut') {
      run.outcome = 'cut'
      run.status = state.status
      run.refusal = state.refusal
    }
  }

  /** What a trace tells of it, once it is over. */
  get ending(): SendEnding {
    return this.#isUnheard ? { ...this.#outcome, abandoned: true } : this.#outcome
  }

  get #outcome(): SendEnding {
    const state = this.#state
    if (state.kind === 'answered')
      return {
        status: state.status,
        usage: state.usage,
        ...(state.exception !== undefined && { failure: state.exception }),
      }
    if (state.kind === 'cut') return { status: state.status, failure: state.refusal.code }
    if (state.kind === 'throttled') return { status: state.reply.status, throttled: true }
    if (state.kind !== 'failed') return { abandoned: true }
    return 'reply' in state.held ? { status: state.held.reply.status } : { failure: state.held.refusal.code }
  }

  /** 4xx is no failure of Bedrock's; nor is a loop, which a client can claim. A throttle that was too long to hold back comes by here. */
  #judge(status: number): void {
    if (status >= 500 && status !== LOOP_DETECTED) this.#signal?.failed(true)
    else if (status === 429 && this.#state.kind === 'answering') this.#signal?.throttled('unclear')
    else this.#signal?.succeeded()
  }

  get #isUnheard(): boolean {
    return this.#answer === NOBODY
  }

  #isOver(): boolean {
    return this.#state.kind !== 'sent' && this.#state.kind !== 'answering'
  }
}
