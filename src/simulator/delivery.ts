// Answers in time: waits, sends, and stops at once when the caller leaves. Steps are produced only when they are due and the
// peer keeps up, so a stream holds at most one batch in memory.
import type { Clock } from '../domain/clock.ts'
import type { Leave, SimulatedReply } from './call.ts'

/** How it ended, and how many output tokens had been produced by then. */
export type Ended = (ending: 'complete' | 'broken' | 'left', producedTokens: number) => void

export interface Step {
  /** From the step before, at least. */
  waitMs: number
  tokens: number
  /** Asked for when it is sent, so that it can tell how long it took. */
  bytes: () => Buffer
}

/** Returns how the stream ends: in order, by an exception frame, or with the connection destroyed. */
export type Steps = Generator<Step, 'complete' | 'exception' | 'cut'>

/** Steps due at the same moment travel together, up to this. */
const BATCH_BYTES = 16 * 1024

export class StreamDelivery {
  readonly #clock: Clock
  readonly #reply: SimulatedReply
  readonly #steps: Steps
  readonly #ended: Ended
  #due: Step | undefined
  #producedTokens = 0
  #over = false
  #cancelWait: () => void = () => {}

  constructor(clock: Clock, reply: SimulatedReply, steps: Steps, ended: Ended) {
    this.#clock = clock
    this.#reply = reply
    this.#steps = steps
    this.#ended = ended
  }

  /** The head goes out with the first step. */
  start(waitMs: number, begin: () => void): Leave {
    this.#cancelWait = this.#clock.after(waitMs, () => {
      begin()
      this.#run()
    })
    return () => {
      if (this.#over) return
      this.#over = true
      this.#cancelWait()
      this.#ended('left', this.#producedTokens)
    }
  }

  #run(): void {
    const batch: Buffer[] = []
    let bytes = 0
    let step = this.#due
    this.#due = undefined
    for (;;) {
      if (step) {
        const sent = step.bytes()
        batch.push(sent)
        bytes += sent.length
        this.#producedTokens += step.tokens
      }
      if (bytes >= BATCH_BYTES) break
      const next = this.#steps.next()
      if (next.done) {
        this.#finish(batch, next.value)
        return
      }
      step = next.value
      if (step.waitMs === 0) continue
      this.#due = step
      break
    }
    this.#send(batch, this.#due?.waitMs ?? 0)
  }

  #send(batch: Buffer[], waitMs: number): void {
    const hold = batch.length > 0 ? this.#reply.data(Buffer.concat(batch)) : undefined
    let held = true
    const release = () => {
      if (held) this.#wait(waitMs)
      held = false
    }
    if (hold) hold(release)
    else release()
  }

  #wait(waitMs: number): void {
    if (!this.#over) this.#cancelWait = this.#clock.after(waitMs, () => this.#run())
  }

  #finish(batch: Buffer[], ending: 'complete' | 'exception' | 'cut'): void {
    if (batch.length > 0) this.#reply.data(Buffer.concat(batch))
    if (this.#over) return
    this.#over = true
    if (ending === 'cut') this.#reply.cut()
    else this.#reply.end()
    this.#ended(ending === 'complete' ? 'complete' : 'broken', this.#producedTokens)
  }
}

export interface Whole {
  waitMs: number
  /** Asked for when it is sent, so that it can tell how long it took. `cut`: the connection dies half-way through the body. */
  answer: () => { status: number; headers: string[]; body: Buffer; cut: boolean }
  /** Output tokens the model would have produced `elapsedMs` into the wait, for callers that leave. */
  producedTokens: (elapsedMs: number) => number
}

export function deliverWhole(clock: Clock, reply: SimulatedReply, whole: Whole, ended: Ended): Leave {
  const startedAtMs = clock.nowMs()
  let over = false
  const send = () => {
    over = true
    const { status, headers, body, cut } = whole.answer()
    reply.head(status, [...headers, 'Content-Length', String(body.length)])
    reply.data(cut ? body.subarray(0, Math.ceil(body.length / 2)) : body)
    if (cut) reply.cut()
    else reply.end()
    ended(cut ? 'broken' : 'complete', whole.producedTokens(Number.POSITIVE_INFINITY))
  }
  if (whole.waitMs <= 0) {
    send()
    return () => {}
  }
  const cancel = clock.after(whole.waitMs, send)
  return () => {
    if (over) return
    over = true
    cancel()
    ended('left', whole.producedTokens(Math.max(0, clock.nowMs() - startedAtMs)))
  }
}
