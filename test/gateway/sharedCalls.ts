// A scripted inner handler and clients that write down what they hear, for tests of shared calls.
import assert from 'node:assert/strict'
import type { Clock } from '../../src/domain/clock.ts'
import type { ModelSettings, Priority } from '../../src/domain/model.ts'
import type { Refusal } from '../../src/domain/refusal.ts'
import type { Flights } from '../../src/gateway/answerPorts.ts'
import { Coalescer } from '../../src/gateway/coalescer.ts'
import type { Answer, Finished, FlowControl, Handler, Invocation, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { Kept } from '../../src/gateway/recording.ts'
import { matchOperation, type Operation } from '../../src/wire/operations.ts'
import { PLAIN } from '../support/models.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const STREAM = '/model/m/converse-stream'

function operationAt(path: string): Operation {
  const match = matchOperation('POST', path)
  if (match.kind !== 'found') throw new Error(path)
  return match.route.operation
}

export const NOTES: Notes = { pool: 'only', waitMs: 7, attempts: 1 }
export const HEADERS = ['content-type', 'text/plain']

/** One call to the inner handler: the test plays the upstream. */
export class InnerCall {
  readonly invocation: Invocation
  readonly answer: Answer
  readonly #end = Promise.withResolvers<Finished>()
  isPaused = false
  isAbandoned = false

  constructor(invocation: Invocation, answer: Answer) {
    this.invocation = invocation
    this.answer = answer
    invocation.presence.watch(() => {
      this.isAbandoned = true
      this.#finish('aborted')
    })
  }

  get ended(): Promise<Finished> {
    return this.#end.promise
  }

  head(status = 200): void {
    const flow: FlowControl = {
      pause: () => {
        this.isPaused = true
      },
      resume: () => {
        this.isPaused = false
      },
    }
    this.answer.head(status, HEADERS, NOTES, flow)
  }

  data(text: string | Buffer): void {
    this.answer.data(Buffer.from(text))
  }

  end(): void {
    this.answer.end()
    this.#finish('answered')
  }

  whole(...texts: string[]): void {
    this.head()
    for (const text of texts) this.data(text)
    this.end()
  }

  cut(): void {
    this.answer.cut()
    this.#finish('cut')
  }

  refuse(code: Refusal['code']): void {
    const refusal: Refusal = { code, message: 'no' }
    this.answer.refuse(refusal, NOTES)
    this.#finish('refused', refusal)
  }

  fault(): void {
    this.#end.reject(new Error('a fault of ours'))
  }

  #finish(outcome: Finished['outcome'], refusal?: Refusal): void {
    const { id, flow } = this.invocation
    this.#end.resolve({
      id,
      operation: 'ConverseStream',
      model: 'm',
      pool: 'only',
      flow,
      outcome,
      status: outcome === 'refused' ? undefined : 200,
      refusal,
      waitMs: 7,
      firstByteMs: 3,
      totalMs: 11,
      attempts: 1,
      throttledBy: [],
      reservedTokens: 100,
      chargedTokens: 50,
      usage: undefined,
      exception: undefined,
      retries: 0,
      fallback: undefined,
      coalesced: false,
    })
  }
}

/** What one client heard, in order. */
export class Client implements Answer {
  readonly presence = new Presence()
  text = ''
  readonly chunks: Buffer[] = []
  status: number | undefined
  notes: Partial<Notes> | undefined
  flow: FlowControl | undefined
  /** What ended it, once. */
  ending: 'whole' | 'cut' | Refusal['code'] | undefined
  finished: Finished | undefined
  /** Takes so many chunks, then pauses. */
  takes = Number.POSITIVE_INFINITY
  #hasLeft = false

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#hears()
    assert.equal(this.status, undefined, 'one head')
    assert.deepEqual(headers, HEADERS)
    this.status = status
    this.notes = notes
    this.flow = flow
    if (this.takes === 0) flow.pause()
  }

  data(chunk: Buffer): void {
    this.#hears()
    assert.ok(this.status, 'a head first')
    this.text += chunk.toString()
    this.chunks.push(chunk)
    this.takes -= 1
    if (this.takes <= 0) this.flow!.pause()
  }

  end(): void {
    this.#hears()
    assert.ok(this.status, 'a head first')
    this.ending = 'whole'
  }

  cut(): void {
    this.#hears()
    this.ending = 'cut'
  }

  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    this.#hears()
    assert.equal(this.status, undefined, 'no refusal after a head')
    this.notes = notes
    this.ending = refusal.code
  }

  leave(): void {
    this.#hasLeft = true
    this.presence.leave()
  }

  #hears(): void {
    assert.equal(this.ending, undefined, 'nothing after the end')
    assert.ok(!this.#hasLeft, 'nothing after it left')
  }
}

export interface Ask {
  body?: string
  client?: string
  user?: string
  priority?: Priority
  maxWaitMs?: number
  scope?: ModelSettings['coalesce']
  path?: string
  takes?: number
}

export class World {
  readonly clock = new VirtualClock()
  readonly kept = new Kept()
  readonly calls: InnerCall[] = []
  readonly #coalescer: Coalescer
  #ids = 0

  constructor(flights?: Flights, clock: Clock = this.clock) {
    const inner: Handler = {
      handle: (invocation, answer) => {
        const call = new InnerCall(invocation, answer)
        this.calls.push(call)
        return call.ended
      },
    }
    this.#coalescer = new Coalescer({ inner, clock, flights }, this.kept)
  }

  get last(): InnerCall {
    return this.calls.at(-1)!
  }

  /** Somebody asks; what is due happens. */
  async ask(ask: Ask = {}): Promise<Client> {
    const client = this.start(ask)
    await this.settle()
    return client
  }

  start(ask: Ask = {}): Client {
    const client = new Client()
    client.takes = ask.takes ?? client.takes
    void this.#coalescer.handle(this.#invocation(ask, client.presence), client).then(
      finished => {
        client.finished = finished
      },
      () => {},
    )
    return client
  }

  /** Lets what was promised happen. */
  settle(): Promise<void> {
    return this.clock.advance(0)
  }

  #invocation(ask: Ask, presence: Presence): Invocation {
    const {
      body = 'hello',
      client = 'app',
      user = 'u',
      priority = 'normal',
      maxWaitMs = 30_000,
      scope = 'client',
      path = STREAM,
    } = ask
    this.#ids += 1
    return {
      id: `i${this.#ids}`,
      model: { ...MODEL, coalesce: scope },
      demand: { textBytes: body.length, mediaTokens: 0, answers: 1 },
      flow: { priority, client, user },
      maxWaitMs,
      request: { operation: operationAt(path), rawUrl: path, headers: [], body: Buffer.from(body) },
      presence,
    }
  }
}

const MODEL: ModelSettings = {
  name: 'm',
  modelIds: ['*'],
  outputBurndown: 5,
  maxOutputTokens: 100,
  bytesPerToken: 3.5,
  pools: [],
  ...PLAIN,
}
