// Asynchronous invocations: started, listed, and completed by the clock alone. Bounded: past the bound the oldest is forgotten.
import type { Clock } from '../domain/clock.ts'
import type { Completion, Format } from './formats/format.ts'
import { type JsonObject, objectAt, textAt } from './json.ts'
import { type Refusal, refusal } from './refusal.ts'

interface Started {
  invocationArn: string
  modelArn: string
  clientRequestToken: string | undefined
  outputDataConfig: JsonObject
  submittedAtMs: number
}

const MAX_KEPT = 1000
const RUNS_FOR_MS = 10_000
const MAX_PAGE = 1000
const ACCOUNT = '123456789012'

export class AsyncInvocations {
  readonly #clock: Clock
  /** By ARN, oldest first. */
  readonly #started = new Map<string, Started>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Starting one is a metered call whose answer is its ARN. */
  format(region: string): Format {
    return {
      writesText: false,
      whole: completion => ({ invocationArn: this.#start(region, completion) }),
      *stream() {},
    }
  }

  get(invocationArn: string): JsonObject | Refusal {
    const found = this.#started.get(invocationArn)
    return found
      ? this.#described(found)
      : refusal('ResourceNotFoundException', 'The specified resource ARN was not found.')
  }

  /** Newest first unless asked otherwise. */
  list(query: URLSearchParams): JsonObject {
    const after = Date.parse(query.get('submitTimeAfter') ?? '')
    const before = Date.parse(query.get('submitTimeBefore') ?? '')
    const status = query.get('statusEquals')
    const found = Array.from(this.#started.values()).filter(
      ({ submittedAtMs }) => !(submittedAtMs <= after) && !(submittedAtMs >= before),
    )
    const all = found.map(started => this.#described(started)).filter(one => status === null || one.status === status)
    if (query.get('sortOrder') !== 'Ascending') all.reverse()
    const from = wholeNumber(query.get('nextToken'), 0)
    const to = from + Math.max(1, wholeNumber(query.get('maxResults'), MAX_PAGE))
    return { asyncInvokeSummaries: all.slice(from, to), ...(to < all.length && { nextToken: String(to) }) }
  }

  /** The same client token starts nothing twice. */
  #start(region: string, { body, modelId, names }: Completion): string {
    const clientRequestToken = textAt(body, 'clientRequestToken')
    for (const started of this.#started.values())
      if (clientRequestToken !== undefined && started.clientRequestToken === clientRequestToken)
        return started.invocationArn
    const invocationArn = `arn:aws:bedrock:${region}:${ACCOUNT}:async-invoke/${names.lowerCase(12)}`
    const modelArn = modelId.startsWith('arn:') ? modelId : `arn:aws:bedrock:${region}::foundation-model/${modelId}`
    const outputDataConfig = objectAt(body, 'outputDataConfig') ?? {}
    this.#started.set(invocationArn, {
      invocationArn,
      modelArn,
      clientRequestToken,
      outputDataConfig,
      submittedAtMs: this.#clock.nowMs(),
    })
    for (const oldest of this.#started.keys()) {
      if (this.#started.size <= MAX_KEPT) break
      this.#started.delete(oldest)
    }
    return invocationArn
  }

  #described({ submittedAtMs, clientRequestToken, invocationArn, modelArn, outputDataConfig }: Started): JsonObject {
    const endedAtMs = submittedAtMs + RUNS_FOR_MS
    const over = this.#clock.nowMs() >= endedAtMs
    return {
      ...(clientRequestToken !== undefined && { clientRequestToken }),
      ...(over && { endTime: isoTime(endedAtMs) }),
      invocationArn,
      lastModifiedTime: isoTime(over ? endedAtMs : submittedAtMs),
      modelArn,
      outputDataConfig,
      status: over ? 'Completed' : 'InProgress',
      submitTime: isoTime(submittedAtMs),
    }
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : otherwise
}
