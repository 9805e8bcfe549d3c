// A client's own limits around a handler: what is refused and how it is told, what is charged, and what costs nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InputEstimate } from '../../src/domain/estimate.ts'
import type { LimitSettings } from '../../src/domain/limits/clientLimits.ts'
import type { ModelSettings } from '../../src/domain/model.ts'
import type { Refusal } from '../../src/domain/refusal.ts'
import { Limited } from '../../src/gateway/limited.ts'
import type { ClientLimits } from '../../src/gateway/limitPorts.ts'
import type { Answer, Finished, Invocation, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { MemoryClientLimits } from '../../src/memory/limits.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { PLAIN } from '../support/models.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const MODEL: ModelSettings = {
  name: 'sonnet',
  modelIds: ['*'],
  outputBurndown: 5,
  maxOutputTokens: 900,
  bytesPerToken: 4,
  pools: [{ name: 'only', region: 'us-east-1' }],
  ...PLAIN,
}
const NOTES: Notes = { pool: 'only', waitMs: 0, attempts: 1 }
const NO_FLOW = { pause() {}, resume() {} }

class Recorder implements Answer {
  refusal: Refusal | undefined
  notes: Partial<Notes> | undefined
  body = ''

  head(_status: number, _headers: string[], notes: Notes): void {
    this.notes = notes
  }
  data(chunk: Buffer): void {
    this.body += chunk
  }
  end(): void {
    this.body += '.'
  }
  cut(): void {
    this.body += '!'
  }
  refuse(refusal: Refusal, notes?: Partial<Notes>): void {
    this.refusal = refusal
    this.notes = notes
  }
}

/** What the inner handler does with one invocation; by default it answers and is charged 50 tokens. */
type Play = (answer: Answer) => Promise<Partial<Finished>>
const ANSWERS: Play = async answer => {
  answer.head(200, [], NOTES, NO_FLOW)
  answer.data(Buffer.from('hello'))
  answer.end()
  return { outcome: 'answered', chargedTokens: 50 }
}

class World {
  readonly clock = new VirtualClock()
  readonly refusals: string[] = []
  settings: LimitSettings | undefined
  limits: ClientLimits = new MemoryClientLimits(this.clock)
  capOf: (invocation: Invocation) => number | undefined = invocation => invocation.demand?.outputCap
  #ids = 0

  constructor(settings?: LimitSettings) {
    this.settings = settings
  }

  /** 100 tokens of input, and a cap. */
  async call({ outputCap = 400, play = ANSWERS, path = '/model/m/converse' } = {}) {
    const match = matchOperation('POST', path)
    assert.ok(match.kind === 'found')
    const { operation } = match.route
    const invocation: Invocation = {
      id: `call-${++this.#ids}`,
      model: MODEL,
      ...(operation.metered && {
        demand: { textBytes: 400, mediaTokens: 0, answers: 1, outputCap },
      }),
      flow: { priority: 'normal', client: 'app', user: 'u' },
      maxWaitMs: 1_000,
      request: { operation, rawUrl: path, headers: [], body: Buffer.alloc(0) },
      presence: new Presence(),
    }
    const answer = new Recorder()
    const limited = new Limited({
      inner: { handle: async (_invocation, inner) => (await play(inner)) as Finished },
      limits: this.limits,
      limitsOf: client => (client === 'app' ? this.settings : undefined),
      capOf: this.capOf,
      estimates: new Map([['sonnet', new InputEstimate(4)]]),
      clock: this.clock,
      onRefusal: (client, limit) => this.refusals.push(`${client} ${limit}`),
    })
    const run = await limited.handle(invocation, answer)
    return { run, answer }
  }
}

test('a client without limits gets the handler itself: no promise, no answer of another, no header', async () => {
  const world = new World()
  world.limits = {
    take() {
      throw new Error('nobody asked')
    },
    keep() {},
    async close() {},
  }
  const { answer } = await world.call({
    play: async inner => {
      assert.ok(inner instanceof Recorder)
      return ANSWERS(inner)
    },
  })
  assert.deepEqual(answer.notes, NOTES)
  const handled = Promise.resolve({} as Finished)
  const limited = new Limited({
    inner: { handle: () => handled },
    limits: world.limits,
    limitsOf: () => undefined,
    capOf: () => undefined,
    estimates: new Map(),
    clock: world.clock,
    onRefusal() {},
  })
  assert.equal(limited.handle({ flow: { client: 'x' } } as Invocation, new Recorder()), handled)
})

test('an answer carries policy and level, as of its head; a refusal too, with when to come back', async () => {
  const world = new World({ algorithm: 'fixed-window', requestsPerMinute: 2, tokensPerMinute: 1_000, concurrent: 3 })
  const policy = '"requests";q=2;w=60, "concurrent";q=3;qu="concurrent-requests"'
  const { answer } = await world.call({
    play: async inner => {
      await world.clock.advance(20_500)
      return ANSWERS(inner)
    },
  })
  assert.equal(answer.body, 'hello.')
  assert.deepEqual(answer.notes, {
    ...NOTES,
    rateLimit: { policy, level: '"requests";r=1;t=40, "tokens";r=500;t=40;sluice-q=1000, "concurrent";r=2' },
  })
  await world.call()
  const { run, answer: refused } = await world.call()
  assert.deepEqual(refused.refusal, {
    code: 'client-limit',
    message: 'Too many requests, please wait before trying again. The client app may have 2 requests per minute.',
    retryAfterMs: 39_500,
  })
  // 50 each were charged of the 500 reserved.
  assert.deepEqual(refused.notes, {
    rateLimit: { policy, level: '"requests";r=0;t=40, "tokens";r=900;t=40;sluice-q=1000, "concurrent";r=3' },
  })
  assert.deepEqual([run.outcome, run.refusal?.code, run.model, run.attempts], ['refused', 'client-limit', 'sonnet', 0])
  assert.deepEqual(world.refusals, ['app requests'])
})

test('a call reserves its price and is charged what it cost: nothing when it was refused further on', async () => {
  const world = new World({ algorithm: 'fixed-window', tokensPerMinute: 1_000 })
  const left = async () => (await world.call({ path: '/model/m/count-tokens' })).answer.notes!.rateLimit!.level
  const refused: Play = async answer => {
    answer.refuse({ code: 'queue-full', message: 'full' })
    return { outcome: 'refused', chargedTokens: 0 }
  }
  const { answer } = await world.call({ play: refused })
  assert.equal(answer.refusal?.code, 'queue-full')
  assert.match(answer.notes!.rateLimit!.level!, /^"tokens";r=500;/)
  assert.equal(await left(), '"tokens";r=1000;t=0;sluice-q=1000')
  await world.call()
  assert.equal(await left(), '"tokens";r=950;t=60;sluice-q=1000')
  const { answer: over } = await world.call({ outputCap: 860 })
  assert.equal(
    over.refusal?.message,
    'Too many tokens, please wait before trying again. The client app may have 1000 tokens per minute.',
  )
  // What broke off keeps its reservation when nobody knows what it cost, even by a fault of ours.
  const fault: Play = async () => {
    throw new Error('a fault')
  }
  await assert.rejects(world.call({ play: fault }), /a fault/)
  assert.equal(await left(), '"tokens";r=450;t=60;sluice-q=1000')
})

test('a call reserves the cap that it is going to be given, and nobody works that out for who has no limit on tokens', async () => {
  const world = new World({ algorithm: 'fixed-window', tokensPerMinute: 1_000 })
  world.capOf = () => 30
  assert.match((await world.call()).answer.notes!.rateLimit!.level!, /^"tokens";r=870;/)
  world.settings = { algorithm: 'fixed-window', requestsPerMinute: 5, concurrent: 5 }
  world.capOf = () => assert.fail('nobody asked')
  assert.equal((await world.call()).answer.refusal, undefined)
})

test('a place is held while the call runs, and free again however it ends', async () => {
  const world = new World({ algorithm: 'token-bucket', concurrent: 1 })
  const { promise, resolve } = Promise.withResolvers<Partial<Finished>>()
  const first = world.call({ play: () => promise })
  const { answer } = await world.call()
  assert.equal(answer.refusal?.code, 'client-limit')
  assert.equal(answer.refusal?.retryAfterMs, 1_000)
  assert.match(answer.refusal!.message, /^Too many concurrent requests, .* 1 requests at once\.$/)
  resolve({ outcome: 'aborted', chargedTokens: 0 })
  await first
  const fault: Play = () => Promise.reject(new Error('a fault'))
  await assert.rejects(world.call({ play: fault }), /a fault/)
  assert.equal((await world.call()).answer.refusal, undefined)
  assert.deepEqual(world.refusals, ['app concurrent'])
})

test('more than a whole minute of tokens can never pass: that is said, with no time to come back', async () => {
  const world = new World({ algorithm: 'token-bucket', tokensPerMinute: 400 })
  const { refusal } = (await world.call()).answer
  assert.equal(refusal?.code, 'cannot-fit')
  assert.equal(refusal?.retryAfterMs, undefined)
  assert.match(refusal!.message, /^The request needs 500 tokens .* 400 tokens per minute of the client app/)
})

test('a model that is not among the client’s is refused before anything is counted', async () => {
  const world = new World({ algorithm: 'fixed-window', requestsPerMinute: 1, models: ['haiku'] })
  const { answer, run } = await world.call()
  assert.deepEqual(answer.refusal, {
    code: 'model-not-allowed',
    message: "You don't have access to the model with the specified model ID.",
  })
  assert.deepEqual(answer.notes, { rateLimit: { policy: '"requests";q=1;w=60' } })
  assert.equal(run.refusal?.code, 'model-not-allowed')
  world.settings = { ...world.settings!, models: ['haiku', 'sonnet'] }
  assert.equal((await world.call()).answer.refusal, undefined)
  // Models alone count nothing.
  world.settings = { algorithm: 'fixed-window', models: ['sonnet'] }
  assert.deepEqual((await world.call()).answer.notes, NOTES)
  world.settings = { algorithm: 'fixed-window', models: ['haiku'] }
  assert.equal((await world.call()).answer.notes, undefined)
  assert.deepEqual(world.refusals, ['app models', 'app models'])
})

test('a limit of tokens is no policy, which would be read as one of requests: it stands beside what is left of it', async () => {
  const world = new World({ algorithm: 'fixed-window', tokensPerMinute: 1_000 })
  const { answer } = await world.call()
  assert.deepEqual(answer.notes!.rateLimit, { level: '"tokens";r=500;t=60;sluice-q=1000' })
  world.settings = { ...world.settings!, models: ['haiku'] }
  assert.deepEqual((await world.call()).answer.notes, undefined)
})
