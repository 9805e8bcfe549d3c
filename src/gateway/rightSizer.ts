// Right-sized requests. What Bedrock reserves is what a request may answer at most, and one that does not say is taken to
// want the model's all: a few of those fill a minute's quota with tokens nobody uses. So such a request is given a cap, and
// where tokens are scarce the caps of the `low` class shrink. Nothing else about a request changes.
import type { ModelSettings } from '../domain/model.ts'
import { OutputSizes } from '../domain/outputSizes.ts'
import { capOutput } from '../wire/capRewrite.ts'
import type { Demand } from '../wire/demand.ts'
import { NotedAnswer } from './notedAnswer.ts'
import type { Answer, Finished, Handler, Invocation } from './ports.ts'

export type CapKind = 'learned' | 'fixed' | 'shrunk'

interface Capped {
  kind: CapKind
  invocation: Invocation
  /** Of each answer, before what the request sets apart for thinking. */
  wanted: number
  /** Of each answer. */
  tokens: number
}

export interface RightSizerParts {
  handler: Handler
  /** Of the model's quota, of late, by all gateways: 0 to 1. Asked only of `low` requests whose caps may shrink. */
  useOf: (model: string) => number
  /** Told of every cap that was set or shrunk. */
  capped: (model: string, kind: CapKind, tokens: number) => void
}

export class RightSizer implements Handler {
  readonly #parts: RightSizerParts
  /** By model; each gateway learns for itself, from nothing when it starts. */
  readonly #sizes = new Map<string, OutputSizes>()

  constructor(parts: RightSizerParts) {
    this.#parts = parts
  }

  /** Tokens that all answers together may have, were it sent now; undefined: it has no cap and is given none. */
  capOf(invocation: Invocation): number | undefined {
    const { model, demand } = invocation
    if (!model || !demand || model.outputCap.mode === 'off') return demand?.outputCap
    const cap = this.#capped(invocation, model, demand)
    return cap ? cap.invocation.demand?.outputCap : demand.outputCap
  }

  handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const { model, demand } = invocation
    if (!model || !demand || model.outputCap.mode === 'off') return this.#parts.handler.handle(invocation, answer)
    return this.#sized(invocation, model, demand, answer)
  }

  async #sized(invocation: Invocation, model: ModelSettings, demand: Demand, answer: Answer): Promise<Finished> {
    const { handler, capped } = this.#parts
    const cap = this.#capped(invocation, model, demand)
    if (!cap) return handler.handle(invocation, answer)
    capped(model.name, cap.kind, cap.wanted)
    // The client hears what its answer was bounded to.
    const told = new NotedAnswer(answer, notes => notes && { outputCap: cap.tokens })
    const run = await handler.handle(cap.invocation, told)
    // Only those teach for whom it is learned: not answers that the client or a shortage has bounded, nor embeddings.
    if (cap.kind === 'learned') this.#learn(model, demand, run, cap.tokens)
    return run
  }

  /** Undefined: it goes on as it is. */
  #capped(invocation: Invocation, model: ModelSettings, demand: Demand): Capped | undefined {
    const { kind, tokens } = this.#wanted(invocation, model)
    if (demand.outputCap !== undefined && kind !== 'shrunk') return undefined
    const cap = withCap(invocation, model, demand, tokens)
    return cap && { ...cap, kind, wanted: tokens }
  }

  /** The cap that a request should have now, unless it has one of its own that is smaller. */
  #wanted({ flow }: Invocation, model: ModelSettings): { kind: CapKind; tokens: number } {
    const { mode, tokens: first, margin, floor, saturation } = model.outputCap
    const size = mode === 'learned' ? this.#sizes.get(model.name)?.size : undefined
    const tokens = size === undefined ? first : Math.max(floor, Math.ceil(size * margin))
    const mayShrink = flow.priority === 'low' && saturation < 1
    if (mayShrink && this.#parts.useOf(model.name) > saturation)
      return { kind: 'shrunk', tokens: Math.min(floor, tokens) }
    return { kind: mode === 'learned' ? 'learned' : 'fixed', tokens: Math.min(tokens, model.maxOutputTokens) }
  }

  /** Several answers to one request teach nothing: their sizes can't be told apart. */
  #learn(model: ModelSettings, demand: Demand, run: Finished, cap: number): void {
    if (run.outcome !== 'answered' || run.exception || run.usage === undefined || demand.answers > 1) return
    let sizes = this.#sizes.get(model.name)
    if (!sizes) {
      sizes = new OutputSizes()
      this.#sizes.set(model.name, sizes)
    }
    sizes.learn(run.usage.outputTokens, cap)
  }
}

/** The same request with a cap; undefined when its body cannot be given one, or needs none. */
function withCap(
  invocation: Invocation,
  model: ModelSettings,
  demand: Demand,
  tokens: number,
): { invocation: Invocation; tokens: number } | undefined {
  const { request } = invocation
  const bounds = { tokens, most: model.maxOutputTokens }
  const rewrite = capOutput(request.operation.name, request.modelId ?? '', request.body, bounds)
  if (!rewrite) return undefined
  return {
    tokens: rewrite.tokens,
    invocation: {
      ...invocation,
      demand: { ...demand, outputCap: rewrite.tokens * demand.answers },
      request: { ...request, body: rewrite.body },
    },
  }
}
