// A client's own limits, in front of everything: who is over is refused at once, because only Bedrock's quota is worth
// waiting for. A call counts as a request whatever becomes of it, and is charged the tokens it cost: none when it was refused
// further on, or answered by another's call, a kept answer or a mock. Calls that Bedrock does not meter count as requests of
// no tokens.
import type { Clock } from '../domain/clock.ts'
import type { InputEstimate } from '../domain/estimate.ts'
import type { Denial, LimitKind, LimitSettings } from '../domain/limits/clientLimits.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { ClientLimits, RateLimitNote } from './limitPorts.ts'
import { NotedAnswer } from './notedAnswer.ts'
import type { Answer, Finished, Handler, Invocation } from './ports.ts'
import { priceOf } from './price.ts'
import { isCounted, policyNote, rateLimitNote } from './rateLimit.ts'
import { newRun } from './run.ts'

export interface LimitedParts {
  inner: Handler
  limits: ClientLimits
  /** Undefined: the client has none. */
  limitsOf: (client: string) => LimitSettings | undefined
  /** Tokens that all answers to it together will be allowed; undefined: the model's most. */
  capOf: (invocation: Invocation) => number | undefined
  /** By model name. */
  estimates: Map<string, InputEstimate>
  clock: Clock
  /** Told of every refusal, and by which limit. */
  onRefusal: (client: string, limit: LimitKind | 'models') => void
}

export class Limited implements Handler {
  readonly #parts: LimitedParts

  constructor(parts: LimitedParts) {
    this.#parts = parts
  }

  handle(invocation: Invocation, answer: Answer): Promise<Finished> {
    const settings = this.#parts.limitsOf(invocation.flow.client)
    if (!settings) return this.#parts.inner.handle(invocation, answer)
    return this.#limited(invocation, answer, settings)
  }

  async #limited(invocation: Invocation, answer: Answer, settings: LimitSettings): Promise<Finished> {
    const { inner, limits, clock } = this.#parts
    const { client } = invocation.flow
    if (invocation.model && settings.models && !settings.models.includes(invocation.model.name)) {
      return this.#refuse(invocation, answer, 'models', NOT_ALLOWED, policyNote(settings), clock.nowMs())
    }
    if (!isCounted(settings)) return inner.handle(invocation, answer)
    const tokens = settings.tokensPerMinute === undefined ? 0 : this.#price(invocation)
    const askedMs = clock.nowMs()
    const admission = await limits.take(client, settings, tokens, invocation.id)
    const decidedMs = clock.nowMs()
    // How the client stands with its limits, told with whatever it is answered.
    const note = () => rateLimitNote(settings, admission.levels, clock.nowMs() - decidedMs)
    if (admission.kind === 'refused') {
      const refusal = refusalOf(client, settings, admission.denial, tokens)
      return this.#refuse(invocation, answer, admission.denial.over, refusal, note(), askedMs)
    }
    let chargedTokens = tokens
    try {
      const run = await inner.handle(invocation, new NotedAnswer(answer, () => ({ rateLimit: note() })))
      chargedTokens = run.chargedTokens
      return run
    } finally {
      admission.end(chargedTokens)
    }
  }

  #price(invocation: Invocation): number {
    const { model, demand } = invocation
    if (!model || !demand) return 0
    const { estimates, capOf } = this.#parts
    return priceOf(demand, model, estimates.get(model.name)!, capOf(invocation))
  }

  #refuse(
    invocation: Invocation,
    answer: Answer,
    limit: LimitKind | 'models',
    refusal: Refusal,
    rateLimit: RateLimitNote | undefined,
    startedMs: number,
  ): Finished {
    answer.refuse(refusal, rateLimit && { rateLimit })
    this.#parts.onRefusal(invocation.flow.client, limit)
    const run = newRun(invocation, startedMs)
    const totalMs = Math.max(0, this.#parts.clock.nowMs() - startedMs)
    return { ...run, outcome: 'refused', refusal, totalMs }
  }
}

/** In Bedrock's own words. */
const NOT_ALLOWED: Refusal = {
  code: 'model-not-allowed',
  message: "You don't have access to the model with the specified model ID.",
}

function refusalOf(client: string, settings: LimitSettings, { over, retryAfterMs }: Denial, tokens: number): Refusal {
  const { requestsPerMinute, tokensPerMinute, concurrent } = settings
  if (retryAfterMs === Number.POSITIVE_INFINITY) {
    const message =
      `The request needs ${tokens} tokens (estimated input + maximum output), more than the ${tokensPerMinute} tokens ` +
      `per minute of the client ${client}. Lower its output cap or shorten its input.`
    return { code: 'cannot-fit', message }
  }
  const [what, bound] = {
    requests: ['requests', `${requestsPerMinute} requests per minute`],
    tokens: ['tokens', `${tokensPerMinute} tokens per minute`],
    concurrent: ['concurrent requests', `${concurrent} requests at once`],
  }[over] as [string, string]
  const message = `Too many ${what}, please wait before trying again. The client ${client} may have ${bound}.`
  return { code: 'client-limit', message, retryAfterMs }
}
