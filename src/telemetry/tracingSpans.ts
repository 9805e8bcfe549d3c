// An invocation as spans: one for all of it, as its client sees it, and in it one for each wait and one for each call to
// Bedrock. Names are those of OpenTelemetry's conventions where there is one, of HTTP for the whole and of generative AI for
// the calls, so that token counts summed over spans count each token once. Never a prompt, an answer, a header, a key or a
// user's name: only figures, configured names and the model's id.
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer as Spans,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api'
import type { Clock } from '../domain/clock.ts'
import type { PoolSettings } from '../domain/model.ts'
import type { RefusalCode } from '../domain/refusal.ts'
import type { Finished, Invocation } from '../gateway/ports.ts'
import type { OpenTrace, Tracer } from '../gateway/traced.ts'
import type { SendEnding, SendTrace, Traceable } from '../gateway/tracePorts.ts'

export interface SpanTracerParts {
  tracer: Spans
  /** Absent: traces begin and end here. */
  propagator: TextMapPropagator | undefined
  clock: Clock
  statusOf: (code: RefusalCode) => number
}

/** Of a model's id: anybody may ask for any where a model takes all. */
const LONGEST_MODEL_ID = 256

export class SpanTracer implements Tracer {
  readonly #parts: SpanTracerParts

  constructor(parts: SpanTracerParts) {
    this.#parts = parts
  }

  begin(invocation: Invocation): OpenTrace | undefined {
    const { tracer, propagator, clock } = this.#parts
    const { operation, headers } = invocation.request
    const parent = propagator ? propagator.extract(ROOT_CONTEXT, headers, FLAT_HEADERS) : ROOT_CONTEXT
    const startTime = invocation.arrivedMs ?? clock.nowMs()
    const name = `${operation.method} ${operation.route}`
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, startTime }, parent)
    return span.isRecording() ? new InvocationSpans(this.#parts, span, startTime, invocation) : undefined
  }
}

class InvocationSpans implements OpenTrace {
  readonly #parts: SpanTracerParts
  readonly #span: Span
  readonly #context: Context
  readonly #operation: Invocation['request']['operation']
  /** The latest that was told: no wait begins before it, and no span ends before it began when the clock is set back. */
  #latestMs: number
  #isWaiting = false
  #waitsSinceMs = 0

  constructor(parts: SpanTracerParts, span: Span, startMs: number, { request }: Invocation) {
    this.#parts = parts
    this.#span = span
    this.#context = trace.setSpan(ROOT_CONTEXT, span)
    this.#operation = request.operation
    this.#latestMs = startMs
  }

  get id(): string {
    return this.#span.spanContext().traceId
  }

  waits(startedMs: number): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#waitsSinceMs = this.#at(startedMs)
  }

  sends(pool: PoolSettings, attempt: number, sentMs: number, request: Traceable): SendTrace {
    const startTime = this.#at(sentMs)
    this.#endWait(startTime)
    const { name, attributes } = callOf(this.#operation, pool, attempt, request.modelId)
    const { tracer, propagator } = this.#parts
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, startTime, attributes }, this.#context)
    return {
      headers: propagator ? continued(propagator, trace.setSpan(ROOT_CONTEXT, span), request.headers) : request.headers,
      ended: ending => {
        span.setAttributes(endingOf(ending))
        const error =
          ending.failure ?? (ending.status !== undefined && ending.status >= 400 ? `${ending.status}` : undefined)
        end(span, error, this.#at(this.#parts.clock.nowMs()))
      },
    }
  }

  finished(run?: Finished): void {
    const nowMs = this.#at(this.#parts.clock.nowMs())
    this.#endWait(nowMs)
    this.#span.setAttributes({
      'http.request.method': this.#operation.method,
      'http.route': this.#operation.route,
      'sluice.operation': this.#operation.name,
    })
    if (run) this.#span.setAttributes(runOf(run, this.#statusOf(run)))
    end(this.#span, run ? this.#errorOf(run) : 'internal', nowMs)
  }

  #endWait(nowMs: number): void {
    if (!this.#isWaiting) return
    this.#isWaiting = false
    this.#parts.tracer.startSpan('wait', { startTime: this.#waitsSinceMs }, this.#context).end(nowMs)
  }

  #statusOf({ outcome, refusal, status }: Finished): number | undefined {
    return outcome === 'refused' && refusal ? this.#parts.statusOf(refusal.code) : status
  }

  /** What the client did wrong is no error of the server's; nor is it one that it left. */
  #errorOf(run: Finished): string | undefined {
    if (run.outcome === 'cut') return run.refusal?.code ?? 'upstream-cut'
    if (run.exception !== undefined) return run.exception
    const status = this.#statusOf(run)
    if (status === undefined || status < 500) return undefined
    return run.refusal?.code ?? `${status}`
  }

  #at(nowMs: number): number {
    this.#latestMs = Math.max(this.#latestMs, nowMs)
    return this.#latestMs
  }
}

function end(span: Span, error: string | undefined, nowMs: number): void {
  if (error !== undefined) span.setAttribute('error.type', error).setStatus({ code: SpanStatusCode.ERROR })
  span.end(nowMs)
}

function runOf(run: Finished, status: number | undefined): Attributes {
  const { flow } = run
  return {
    ...(status !== undefined && { 'http.response.status_code': status }),
    'sluice.request_id': run.id,
    'sluice.model': run.model,
    'sluice.client': flow.client,
    'sluice.priority': flow.priority,
    ...(run.pool !== undefined && { 'sluice.pool': run.pool }),
    'sluice.outcome': run.outcome,
    ...(run.refusal && { 'sluice.refusal': run.refusal.code }),
    ...(run.fallback && { 'sluice.fallback': run.fallback }),
    'sluice.coalesced': run.coalesced,
    'sluice.attempts': run.attempts,
    'sluice.throttles': run.throttledBy.length,
    'sluice.wait_ms': run.waitMs,
    'sluice.reserved_tokens': run.reservedTokens,
    'sluice.charged_tokens': run.chargedTokens,
  }
}

/** An embedding, a picture or a film is told from a chat by the model's id: the body is Bedrock's and its provider's affair. */
const EMBEDDINGS = /embed/i
const PICTURES = /canvas|image|stability|stable-|video|reel/i

function callOf(
  { name, method, modelIn }: Invocation['request']['operation'],
  pool: PoolSettings,
  attempt: number,
  asked: string | undefined,
): { name: string; attributes: Attributes } {
  const attributes: Attributes = {
    'http.request.method': method,
    'cloud.region': pool.region,
    'sluice.pool': pool.name,
    'sluice.attempt': attempt,
    'gen_ai.provider.name': 'aws.bedrock',
    'sluice.operation': name,
  }
  if (modelIn === 'nowhere' || asked === undefined) return { name, attributes }
  const modelId = (pool.modelId ?? asked).slice(0, LONGEST_MODEL_ID)
  attributes['gen_ai.request.model'] = modelId
  if (name === 'CountTokens') return { name, attributes }
  const kind = EMBEDDINGS.test(modelId) ? 'embeddings' : PICTURES.test(modelId) ? 'generate_content' : 'chat'
  attributes['gen_ai.operation.name'] = kind
  return { name: `${kind} ${modelId}`, attributes }
}

function endingOf({ status, throttled, abandoned, usage, firstByteMs }: SendEnding): Attributes {
  return {
    ...(status !== undefined && { 'http.response.status_code': status }),
    ...(throttled && { 'sluice.throttled': true }),
    ...(abandoned && { 'sluice.abandoned': true }),
    ...(firstByteMs !== undefined && { 'sluice.first_byte_ms': firstByteMs }),
    // By the convention input includes what a cache was read or written for; Bedrock tells it apart.
    ...(usage && {
      'gen_ai.usage.input_tokens': usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens,
      'gen_ai.usage.output_tokens': usage.outputTokens,
      'gen_ai.usage.cache_read.input_tokens': usage.cacheReadTokens,
      'gen_ai.usage.cache_creation.input_tokens': usage.cacheWriteTokens,
    }),
  }
}

const FLAT_HEADERS = {
  keys: () => [],
  /** What is there twice says nothing, but for the state, which is a list. */
  get(headers: string[], name: string): string | undefined {
    const values = headers.filter((_, i) => i % 2 === 1 && isNamed(headers[i - 1]!, name))
    return values.length === 1 || name === 'tracestate' ? values.join(',') : undefined
  },
}

/** The headers with the span in place of the one that the client named. */
function continued(propagator: TextMapPropagator, context: Context, headers: string[]): string[] {
  const names = propagator.fields()
  const kept = headers.filter((_, i) => !names.some(name => isNamed(headers[i - (i % 2)]!, name)))
  propagator.inject(context, kept, { set: (into, name, value) => void into.push(name, value) })
  return kept
}

/** Most are told apart by their length. */
function isNamed(header: string, lowerCaseName: string): boolean {
  return header.length === lowerCaseName.length && header.toLowerCase() === lowerCaseName
}
