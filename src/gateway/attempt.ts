// One send and what became of it. What the upstream says goes straight on to the client; a throttle is held back,
// because the client need never hear of it.
import type { Usage } from '../domain/charge.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Answer, Finished, FlowControl, Notes, Receiver, WholeReply } from './ports.ts'
import type { Presence } from './presence.ts'

type State =
  | { kind: 'sent' }
  | { kind: 'answering'; status: number }
  | { kind: 'answered'; status: number; usage: Usage | undefined; exception: string | undefined }
  | { kind: 'throttled'; reply: WholeReply }
  | { kind: 'failed'; refusal: Refusal; sent: boolean }
  | { kind: 'cut'; status: number; refusal: Refusal }
  | { kind: 'aborted'; sent: boolean }

const NO_FLOW: FlowControl = { pause() {}, resume() {} }

export class Attempt implements Receiver {
  readonly #answer: Answer
  readonly #notes: Notes
  readonly #firstByte: () => void
  #state: State = { kind: 'sent' }
  #ended: () => void = () => {}

  constructor(answer: Answer, notes: Notes, firstByte: () => void) {
    this.#answer = answer
    this.#notes = notes
    this.#firstByte = firstByte
  }

  /** Runs `send` and resolves when the attempt has ended; a client that leaves abandons the call and ends it too. */
  async over(presence: Presence, send: () => () => boolean): Promise<void> {
    if (presence.isGone) {
      this.#state = { kind: 'aborted', sent: false }
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = resolve
    const abandon = send()
    presence.watch(() => this.#abort(abandon))
    await promise
    presence.watch(undefined)
  }

  #abort(abandon: () => boolean): void {
    if (this.#isOver()) return
    this.#state = { kind: 'aborted', sent: abandon() }
    this.#ended()
  }

  get usage(): Usage | undefined {
    return this.#state.kind === 'answered' ? this.#state.usage : undefined
  }

  get isThrottled(): boolean {
    return this.#state.kind === 'throttled'
  }

  /** Bedrock charges nothing for a call it answered with an error, nor for one that was never sent. */
  get chargesNothing(): boolean {
    const state = this.#state
    if (state.kind === 'answered') return state.status >= 400
    return (state.kind === 'failed' || state.kind === 'aborted') && !state.sent
  }

  head(status: number, headers: string[], flow: FlowControl): void {
    if (this.#isOver()) return
    // A head that cannot be written throws here, and the client is refused instead.
    this.#answer.head(status, headers, this.#notes, flow)
    this.#state = { kind: 'answering', status }
    this.#firstByte()
  }

  data(chunk: Buffer): void {
    if (!this.#isOver()) this.#answer.data(chunk)
  }

  end(usage: Usage | undefined, exception?: string): void {
    if (this.#state.kind !== 'answering') return
    this.#state = { kind: 'answered', status: this.#state.status, usage, exception }
    this.#answer.end()
    this.#ended()
  }

  throttled(reply: WholeReply): void {
    if (this.#isOver()) return
    this.#state = { kind: 'throttled', reply }
    this.#ended()
  }

  failed(refusal: Refusal, sent: boolean): void {
    if (this.#isOver()) return
    if (this.#state.kind === 'answering') {
      this.#state = { kind: 'cut', status: this.#state.status, refusal }
      this.#answer.cut()
    } else {
      this.#state = { kind: 'failed', refusal, sent }
      this.#answer.refuse(refusal, this.#notes)
    }
    this.#ended()
  }

  /** Out of turns: the client hears the upstream's own words. `retryAfterMs` adds when to come back. */
  deliverThrottle(run: Finished, retryAfterMs?: number): void {
    if (this.#state.kind !== 'throttled') return
    const { status, headers, body } = this.#state.reply
    run.outcome = 'answered'
    run.status = status
    const notes = retryAfterMs === undefined ? this.#notes : { ...this.#notes, retryAfterMs }
    this.#answer.head(status, headers, notes, NO_FLOW)
    this.#answer.data(body)
    this.#answer.end()
  }

  report(run: Finished): void {
    const state = this.#state
    if (state.kind === 'answered') {
      run.outcome = 'answered'
      run.status = state.status
      run.usage = state.usage
      run.exception = state.exception
    } else if (state.kind === 'failed') {
      run.outcome = 'refused'
      run.refusal = state.refusal
    } else if (state.kind === 'cut') {
      run.outcome = 'cut'
      run.status = state.status
      run.refusal = state.refusal
    }
  }

  #isOver(): boolean {
    return this.#state.kind !== 'sent' && this.#state.kind !== 'answering'
  }
}
