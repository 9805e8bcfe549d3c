// A fallback chain over a handler that ends as a test says, in virtual time.
import type { FallbackStep, ModelSettings } from '../../src/domain/model.ts'
import type { Refusal, RefusalCode } from '../../src/domain/refusal.ts'
import { FallbackChain, type FallbackParts, type FellBack } from '../../src/gateway/fallbackChain.ts'
import type { Answer, Finished, Invocation, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { MemoryAnswers } from '../../src/memory/answers.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { PLAIN } from '../support/models.ts'
import { VirtualClock } from '../support/virtualClock.ts'

/** How the inner handler ends one invocation; `afterMs` later. */
export type Ending = { afterMs?: number } & (
  | { kind: 'refuses'; code: RefusalCode }
  | { kind: 'replies'; status: number; chunks: string[]; headers?: string[]; exception?: string; cut?: boolean }
  /** The head of a reply and its chunks, and then nothing until the client leaves. */
  | { kind: 'hangs'; status?: number; chunks?: string[] }
)

export const GOOD: Ending & { kind: 'replies' } = { kind: 'replies', status: 200, chunks: ['good ', 'answer'] }
export const DOWN: Ending & { kind: 'refuses' } = { kind: 'refuses', code: 'upstream-unreachable' }
const FLOW = { pause() {}, resume() {} }

export function modelOf(name: string, fallback: FallbackStep[] = []): ModelSettings {
  const pools = [{ name: `${name}-pool`, region: 'us-east-1' }]
  const sizes = { outputBurndown: 1, maxOutputTokens: 100, bytesPerToken: 3.5 }
  return { name, modelIds: [`maker.${name}`], ...sizes, pools, ...PLAIN, fallback, mockText: 'mock' }
}

/** What a client would see. */
export class Recorder implements Answer {
  said = ''
  head_: { status: number; headers: string[]; notes: Notes } | undefined
  refusal: Refusal | undefined
  head(status: number, headers: string[], notes: Notes): void {
    this.head_ = { status, headers, notes }
    this.said += `[${status}]`
  }
  data(chunk: Buffer): void {
    this.said += chunk.toString()
  }
  end(): void {
    this.said += '[end]'
  }
  cut(): void {
    this.said += '[cut]'
  }
  refuse(refusal: Refusal): void {
    this.refusal = refusal
    this.said += `[refused ${refusal.code}]`
  }
  get label() {
    return this.head_?.notes.fallback
  }
  header(name: string): string | undefined {
    const headers = this.head_?.headers ?? []
    return headers[headers.indexOf(name) + 1 || headers.length]
  }
}

export interface Asked {
  client?: string
  body?: string
  maxWaitMs?: number
  presence?: Presence
  rawUrl?: string
  metered?: boolean
}

export class FallbackBench {
  readonly clock = new VirtualClock()
  readonly models: Map<string, ModelSettings>
  /** By model's name: how its calls end, the last one for ever. */
  readonly endings = new Map<string, Ending[]>()
  /** What the inner handler was given. */
  readonly seen: Invocation[] = []
  readonly rescued: Finished[] = []
  readonly fellBack: FellBack[] = []
  readonly answers: MemoryAnswers
  readonly chain: FallbackChain
  #calls = 0

  constructor(models: ModelSettings[], parts: Partial<FallbackParts> = {}, maxAgeMs = 60_000) {
    this.models = new Map(models.map(model => [model.name, model]))
    this.answers = new MemoryAnswers({ maxAgeMs, maxBytes: 1024 * 1024 }, this.clock)
    this.chain = new FallbackChain({
      inner: { handle: (invocation, answer) => this.#inner(invocation, answer) },
      clock: this.clock,
      answers: this.answers,
      stale: { maxAnswerBytes: 64 * 1024, shared: false },
      mock: (_invocation, text) => ({ status: 200, headers: ['content-length', '4'], body: Buffer.from(text) }),
      modelNamed: name => this.models.get(name),
      rescued: run => this.rescued.push(run),
      fellBack: event => this.fellBack.push(event),
      ...parts,
    })
  }

  start(model: string, asked: Asked = {}): { answer: Recorder; presence: Presence; over: Promise<Finished> } {
    const { client = 'ann', body = '{}', maxWaitMs = 30_000, presence = new Presence(), metered = true } = asked
    const rawUrl = asked.rawUrl ?? `/model/maker.${model}/converse`
    const match = matchOperation('POST', rawUrl)
    if (match.kind !== 'found') throw new Error(`no operation at ${rawUrl}`)
    const { operation } = match.route
    const answer = new Recorder()
    const invocation: Invocation = {
      id: `id${this.#calls++}`,
      model: this.models.get(model)!,
      ...(metered && { demand: { textBytes: body.length, mediaTokens: 0, answers: 1 } }),
      flow: { priority: 'normal', client, user: 'u' },
      maxWaitMs,
      request: { operation, modelId: `maker.${model}`, rawUrl, headers: [], body: Buffer.from(body) },
      presence,
    }
    return { answer, presence, over: this.chain.handle(invocation, answer) }
  }

  async call(model: string, asked: Asked = {}): Promise<{ answer: Recorder; run: Finished }> {
    const { answer, over } = this.start(model, asked)
    await this.clock.advance(20_000)
    return { answer, run: await over }
  }

  #inner(invocation: Invocation, answer: Answer): Promise<Finished> {
    this.seen.push(invocation)
    const { model, presence } = invocation
    const endings = this.endings.get(model!.name)!
    const ending = endings.length > 1 ? endings.shift()! : endings[0]!
    const notes = { pool: model!.pools[0]!.name, waitMs: 5, attempts: 2 }
    const { promise, resolve } = Promise.withResolvers<Finished>()
    const over = (rest: Partial<Finished>) => resolve({ ...finished(invocation), ...rest })
    const cancel = this.clock.after(ending.afterMs ?? 10, () => {
      if (ending.kind === 'refuses') {
        const refusal = { code: ending.code, message: 'no', retryAfterMs: 700 }
        answer.refuse(refusal, notes)
        over({ outcome: 'refused', refusal })
        return
      }
      const { status = 0, chunks = [] } = ending
      if (status > 0) answer.head(status, ending.kind === 'replies' ? (ending.headers ?? []) : [], notes, FLOW)
      // In one buffer that is used again, as a socket's may be.
      const shared = Buffer.alloc(Math.max(0, ...chunks.map(chunk => chunk.length)))
      for (const chunk of chunks) answer.data(shared.subarray(0, shared.write(chunk, 'latin1')))
      if (ending.kind === 'hangs') return
      if (ending.cut) answer.cut()
      else answer.end()
      over({ outcome: ending.cut ? 'cut' : 'answered', status, exception: ending.exception })
    })
    presence.watch(() => {
      cancel()
      over({ outcome: 'aborted' })
    })
    return promise
  }
}

function finished({ id, model, flow, request }: Invocation): Finished {
  return {
    id,
    operation: request.operation.name,
    model: model!.name,
    pool: model!.pools[0]!.name,
    flow,
    outcome: 'aborted',
    status: undefined,
    refusal: undefined,
    waitMs: 5,
    firstByteMs: undefined,
    totalMs: 10,
    attempts: 2,
    throttledBy: [],
    reservedTokens: 100,
    chargedTokens: 0,
    usage: undefined,
    exception: undefined,
    retries: 0,
    fallback: undefined,
    coalesced: false,
  }
}
