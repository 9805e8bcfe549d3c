// What answers when Bedrock does not: a model's fallbacks are tried in their order, each labelled, and none after a byte has
// reached the client. When none answers, the client gets what it would have got.
import type { Clock } from '../domain/clock.ts'
import type { FallbackStep, ModelSettings } from '../domain/model.ts'
import type { AnswerStore, Mock } from './answerPorts.ts'
import { Capture, CaptureSpace } from './capture.ts'
import { Guard } from './guard.ts'
import { invocationKey } from './invocationKey.ts'
import type { Answer, FallbackKind, Finished, FlowControl, Handler, Invocation, Notes, WholeReply } from './ports.ts'
import { readdressed } from './readdress.ts'
import { keptHeaders, staleReply } from './staleReply.ts'
import { Trial } from './trial.ts'

export interface FellBack {
  requestId: string
  /** The one that was asked for. */
  model: string
  kind: FallbackKind
  /** A refusal's code, or Bedrock's status. */
  reason: string
}

export interface FallbackParts {
  inner: Handler
  clock: Clock
  answers: AnswerStore
  stale: { maxAnswerBytes: number; shared: boolean }
  mock: Mock
  /** As the settings are now. */
  modelNamed: (name: string) => ModelSettings | undefined
  /** Told of each run whose ending the client was not given; the one that it was given is returned. */
  rescued: (run: Finished) => void
  fellBack: (event: FellBack) => void
}

/** Answers on their way into the store, of all requests together. */
const CAPTURE_BYTES = 32 * 1024 * 1024
const NO_FLOW: FlowControl = { pause() {}, resume() {} }

/** One request whose own ending is held back. */
interface Rescue {
  invocation: Invocation
  model: ModelSettings
  answer: Answer
  /** Of the model that was asked for. */
  run: Finished
  reason: string
  startedMs: number
}

interface Keeper {
  /** For the call to answer to. */
  answer: Answer
  kept(call: Promise<Finished>): Promise<Finished>
}

export class FallbackChain implements Handler {
  readonly #parts: FallbackParts
  readonly #space = new CaptureSpace(CAPTURE_BYTES)

  constructor(parts: FallbackParts) {
    this.#parts = parts
  }

  handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const { model, demand, request } = invocation
    // A job is started, not answered: an old one's name, or another model's job, would be no answer to it.
    const isJob = request.operation.name === 'StartAsyncInvoke'
    if (!model || !demand || model.fallback.length === 0 || isJob) return this.#parts.inner.handle(invocation, answer)
    return this.#guarded(invocation, model, answer)
  }

  async #guarded(invocation: Invocation, model: ModelSettings, answer: Answer): Promise<Finished> {
    const { inner, clock } = this.#parts
    const startedMs = clock.nowMs()
    const keeper = this.#keeper(invocation, model, answer)
    const guard = new Guard(keeper.answer, clock)
    const first = { ...invocation, refuseWhenShut: true }
    const run = await keeper.kept(inner.handle(first, guard).finally(() => guard.stop()))
    const { reason } = guard
    if (reason === undefined) return seen(run, guard)
    const rescued = await this.#rescue({ invocation, model, answer, run, reason, startedMs })
    if (rescued) return rescued
    if (invocation.presence.isGone) return { ...run, outcome: 'aborted', refusal: undefined }
    if (run.refusal?.code === 'no-pool-open') return this.#wait(invocation, model, answer, startedMs)
    guard.deliver()
    return seen(run, guard)
  }

  /** No pool is open and nothing answers in its place: what is left of the deadline is waited for one to open. */
  async #wait(invocation: Invocation, model: ModelSettings, answer: Answer, startedMs: number): Promise<Finished> {
    const { inner, clock } = this.#parts
    const maxWaitMs = Math.max(0, invocation.maxWaitMs - Math.max(0, clock.nowMs() - startedMs))
    const keeper = this.#keeper(invocation, model, answer)
    // Its first ticket has ended.
    const again = { ...invocation, id: `${invocation.id}-1`, maxWaitMs }
    const run = await keeper.kept(inner.handle(again, keeper.answer))
    return { ...run, id: invocation.id }
  }

  /** Hands an answer on, and keeps a copy of it where the model falls back to such. */
  #keeper(invocation: Invocation, model: ModelSettings, answer: Answer): Keeper {
    if (!model.fallback.includes('stale')) return { answer, kept: call => call }
    const capture = new Capture(answer, this.#parts.stale.maxAnswerBytes, this.#space)
    const kept = async (call: Promise<Finished>) => {
      let run: Finished | undefined
      try {
        run = await call
      } finally {
        this.#keep(capture, run, invocation, model)
      }
      return run
    }
    return { answer: capture, kept }
  }

  /** Of no fault, exception or half answer anything is kept. */
  #keep(capture: Capture, run: Finished | undefined, invocation: Invocation, model: ModelSettings): void {
    const { reply } = capture
    if (!reply || !run || run.exception !== undefined) {
      capture.drop()
      return
    }
    const { answers, stale } = this.#parts
    const key = invocationKey(invocation, stale.shared)
    const kept = { ...reply, headers: keptHeaders(reply.headers) }
    void answers.put(model.name, key, kept).finally(() => capture.drop())
  }

  async #rescue(rescue: Rescue): Promise<Finished | undefined> {
    for (const [i, step] of rescue.model.fallback.entries()) {
      if (rescue.invocation.presence.isGone) return undefined
      const run = typeof step === 'string' ? await this.#fromHand(rescue, step) : await this.#fromModel(rescue, step, i)
      if (run) return run
    }
    return undefined
  }

  /** What needs no call to Bedrock. */
  async #fromHand(rescue: Rescue, kind: 'stale' | 'mock'): Promise<Finished | undefined> {
    const { invocation, model, answer, run, startedMs } = rescue
    const reply = kind === 'stale' ? await this.#stale(rescue) : this.#parts.mock(invocation, model.mockText)
    if (!reply || invocation.presence.isGone) return undefined
    const notes: Notes = { waitMs: run.waitMs, attempts: run.attempts, fallback: kind }
    try {
      answer.head(reply.status, reply.headers, notes, NO_FLOW)
    } catch {
      // Kept for a client whose protocol could carry it.
      return undefined
    }
    if (reply.body.length > 0) answer.data(reply.body)
    answer.end()
    this.#tell(rescue, kind)
    const totalMs = Math.max(run.totalMs, this.#parts.clock.nowMs() - startedMs)
    return { ...run, outcome: 'answered', status: reply.status, refusal: undefined, fallback: kind, totalMs }
  }

  async #stale({ invocation, model }: Rescue): Promise<WholeReply | undefined> {
    const { answers, stale } = this.#parts
    const kept = await answers.get(model.name, invocationKey(invocation, stale.shared))
    return kept && staleReply(kept, invocation.id)
  }

  /** Admitted there as anybody is, within what is left of the deadline. That model's own fallbacks are not followed. */
  async #fromModel(rescue: Rescue, step: Exclude<FallbackStep, string>, place: number): Promise<Finished | undefined> {
    const { inner, clock, modelNamed, rescued } = this.#parts
    const { invocation, answer, startedMs } = rescue
    const target = modelNamed(step.model)
    const leftMs = Math.max(0, invocation.maxWaitMs - Math.max(0, clock.nowMs() - startedMs))
    const again = target && readdressed(invocation, target, place + 2, leftMs)
    if (!again) return undefined
    const trial = new Trial(answer)
    const run = await inner.handle(again, trial)
    if (trial.state === 'failed') {
      rescued({ ...run, outcome: 'rescued', fallback: 'model' })
      return undefined
    }
    if (trial.state === 'answering') this.#tell(rescue, 'model')
    rescued({ ...rescue.run, outcome: 'rescued' })
    return { ...run, fallback: 'model' }
  }

  #tell({ invocation, model, reason }: Rescue, kind: FallbackKind): void {
    this.#parts.fellBack({ requestId: invocation.id, model: model.name, kind, reason })
  }
}

/** The run as its client saw it end. */
function seen(run: Finished, { refusal }: Guard): Finished {
  return refusal ? { ...run, outcome: 'refused', status: undefined, refusal } : run
}
