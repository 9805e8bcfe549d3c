// Which requests are given a cap, which are shrunk, what the gateway behind is asked, and what is learned from its answers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelSettings, OutputCapSettings, Priority } from '../../src/domain/model.ts'
import type { Answer, Finished, Invocation, ModelStatus, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { QuotaUse } from '../../src/gateway/quotaUse.ts'
import { RightSizer } from '../../src/gateway/rightSizer.ts'
import { type Demand, readDemand } from '../../src/wire/demand.ts'
import { PLAIN } from '../support/models.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { operationOf } from '../wire/readResponse.ts'

const NO_FLOW = { pause() {}, resume() {} }
const NOTES: Notes = { pool: 'only', waitMs: 0, attempts: 1 }

function modelWith(outputCap: Partial<OutputCapSettings>, rest: Partial<ModelSettings> = {}): ModelSettings {
  return {
    name: 'm',
    modelIds: ['*'],
    outputBurndown: 5,
    maxOutputTokens: 65_536,
    bytesPerToken: 3.5,
    pools: [{ name: 'only', region: 'us-east-1' }],
    ...PLAIN,
    outputCap: { ...PLAIN.outputCap, ...outputCap },
    ...rest,
  }
}

interface Sent {
  body: string
  demand: Demand
  /** What the client was told. */
  told: number | undefined
}

/** A gateway that answers every request at `outputTokens`, or at its cap when that is less. */
class World {
  use = 0
  outputTokens: number | undefined = 100
  outcome: Finished['outcome'] = 'answered'
  exception: string | undefined
  readonly capped: string[] = []
  readonly sizer = new RightSizer({
    handler: { handle: (invocation, answer) => this.#answer(invocation, answer) },
    useOf: () => this.use,
    capped: (model, kind, tokens) => this.capped.push(`${model} ${kind} ${tokens}`),
  })
  #sent: Invocation | undefined

  async send(model: ModelSettings, body = '{"messages":[]}', priority: Priority = 'normal'): Promise<Sent> {
    const operation = operationOf(body.includes('"model"') ? '/openai/v1/chat/completions' : '/model/m/converse')
    const read = readDemand(operation, Buffer.from(body))
    assert.ok(read.kind === 'ok')
    const invocation: Invocation = {
      id: 'id',
      model,
      demand: read.demand,
      flow: { priority, client: 'open', user: 'ann' },
      maxWaitMs: 1000,
      request: { operation, modelId: 'm', rawUrl: '/model/m/converse', headers: [], body: Buffer.from(body) },
      presence: new Presence(),
    }
    let told: number | undefined
    const answer: Answer = {
      head: (_s, _h, notes) => (told = notes.outputCap),
      data() {},
      end() {},
      cut() {},
      refuse() {},
    }
    const foretold = this.sizer.capOf(invocation)
    await this.sizer.handle(invocation, answer)
    const { request, demand } = this.#sent!
    assert.equal(foretold, demand?.outputCap, 'what it would be sent with is what it is sent with')
    return { body: request.body.toString(), demand: demand!, told }
  }

  async #answer(invocation: Invocation, answer: Answer): Promise<Finished> {
    this.#sent = invocation
    answer.head(200, [], NOTES, NO_FLOW)
    answer.end()
    const cap = invocation.demand?.outputCap ?? Infinity
    const outputTokens = this.outputTokens === undefined ? undefined : Math.min(this.outputTokens, cap)
    return {
      id: invocation.id,
      operation: 'Converse',
      model: 'm',
      pool: 'only',
      flow: invocation.flow,
      outcome: this.outcome,
      status: 200,
      refusal: undefined,
      waitMs: 0,
      firstByteMs: 1,
      totalMs: 1,
      attempts: 1,
      throttledBy: [],
      reservedTokens: 0,
      chargedTokens: 0,
      usage:
        outputTokens === undefined
          ? undefined
          : { inputTokens: 1, outputTokens, cacheReadTokens: 0, cacheWriteTokens: 0 },
      exception: this.exception,
      retries: 0,
      fallback: undefined,
      coalesced: false,
    }
  }
}

const OWN_CAP = '{"inferenceConfig":{"maxTokens":9000}}'

test('mode off touches nothing, not even low requests at the brim', async () => {
  const world = new World()
  world.use = 1
  for (const body of ['{"messages":[]}', OWN_CAP]) {
    const sent = await world.send(modelWith({ mode: 'off', saturation: 0.5 }), body, 'low')
    assert.equal(sent.body, body)
    assert.equal(sent.told, undefined)
  }
  assert.deepEqual(world.capped, [])
})

test('a request without a cap gets the fixed one: in its body, in what is reserved, in the head, in the count', async () => {
  const world = new World()
  const sent = await world.send(modelWith({ mode: 'fixed', tokens: 500 }))
  assert.equal(sent.body, '{"inferenceConfig":{"maxTokens":500},"messages":[]}')
  assert.equal(sent.demand.outputCap, 500)
  assert.equal(sent.told, 500)
  assert.deepEqual(world.capped, ['m fixed 500'])
  const several = await world.send(modelWith({ mode: 'fixed', tokens: 500 }), '{"model":"m","n":3}')
  assert.equal(several.demand.outputCap, 1500, 'of all answers together')
  assert.equal(several.told, 500, 'of each answer')
})

test('a request with a cap of its own is left alone, however large, while tokens are not scarce', async () => {
  const world = new World()
  world.use = 0.5
  for (const priority of ['high', 'normal', 'low'] as const) {
    const sent = await world.send(modelWith({ mode: 'fixed', tokens: 500, saturation: 0.5 }), OWN_CAP, priority)
    assert.equal(sent.body, OWN_CAP)
    assert.equal(sent.told, undefined)
    assert.equal(sent.demand.outputCap, 9000)
  }
})

test('no cap is above what the model can answer, and a model that answers nothing gets none', async () => {
  const world = new World()
  assert.equal((await world.send(modelWith({ mode: 'fixed', tokens: 5000 }, { maxOutputTokens: 800 }))).told, 800)
  assert.equal((await world.send(modelWith({ mode: 'fixed', tokens: 5000 }, { maxOutputTokens: 0 }))).told, undefined)
})

test('above the saturation, low requests shrink to the floor: given caps and their own, and never grow', async () => {
  const world = new World()
  world.use = 0.81
  const model = modelWith({ mode: 'fixed', tokens: 500, floor: 64, saturation: 0.8 })
  assert.equal((await world.send(model, '{"messages":[]}', 'low')).told, 64)
  const own = await world.send(model, OWN_CAP, 'low')
  assert.equal(own.body, '{"inferenceConfig":{"maxTokens":64}}')
  assert.equal(own.demand.outputCap, 64)
  const small = '{"inferenceConfig":{"maxTokens":30}}'
  assert.equal((await world.send(model, small, 'low')).body, small)
  assert.deepEqual(world.capped, ['m shrunk 64', 'm shrunk 64'])
  const normal = await world.send(model, OWN_CAP)
  assert.equal(normal.body, OWN_CAP, 'other classes keep theirs')
  const tiny = modelWith({ mode: 'fixed', tokens: 20, floor: 64, saturation: 0.8 })
  assert.equal((await world.send(tiny, '{"messages":[]}', 'low')).told, 20, 'a fixed cap below the floor stays')
})

test('at saturation 1 nothing shrinks and nobody asks how much is in use', async () => {
  const world = new World()
  Object.defineProperty(world, 'use', { get: () => assert.fail('asked') })
  assert.equal((await world.send(modelWith({ mode: 'fixed', tokens: 500 }), OWN_CAP, 'low')).body, OWN_CAP)
})

test('a learned cap starts at `tokens` and follows the outputs, with its margin, from the fiftieth on', async () => {
  const world = new World()
  const model = modelWith({ mode: 'learned', tokens: 2000, margin: 2, floor: 10 })
  for (let i = 0; i < 50; i += 1) assert.equal((await world.send(model)).told, 2000)
  const { told } = await world.send(model)
  assert.ok(told! >= 200 && told! <= 220, `${told} is twice a hundred, and at most a step more`)
  assert.deepEqual(world.capped.at(-1), `m learned ${told}`)
})

test('a learned cap that cuts grows until it no longer does; the floor and the model bound it', async () => {
  const world = new World()
  const model = modelWith({ mode: 'learned', tokens: 20, margin: 1, floor: 10 })
  world.outputTokens = 700
  for (let i = 0; i < 1000; i += 1) await world.send(model)
  const { told } = await world.send(model)
  assert.ok(told! > 700 && told! < 2800, String(told))
  assert.equal((await world.send({ ...model, maxOutputTokens: 300 })).told, 300)
  assert.equal((await world.send({ ...model, outputCap: { ...model.outputCap, floor: 5000 } })).told, 5000)
})

test('only whole answers to requests that were given a learned cap teach', async () => {
  const world = new World()
  const model = modelWith({ mode: 'learned', tokens: 2000, floor: 10, saturation: 0.8 })
  const fifty = async (body?: string, priority?: Priority) => {
    for (let i = 0; i < 60; i += 1) await world.send(model, body, priority)
  }
  await fifty(OWN_CAP)
  await fifty('{"model":"m","n":2}')
  await fifty('{"inferenceConfig":[]}')
  world.use = 0.9
  await fifty('{"messages":[]}', 'low')
  world.use = 0
  world.outcome = 'aborted'
  await fifty()
  world.outcome = 'answered'
  world.exception = 'modelStreamErrorException'
  await fifty()
  world.exception = undefined
  world.outputTokens = undefined
  await fifty()
  assert.equal((await world.send(model)).told, 2000, 'nothing was learned')
  world.outputTokens = 100
  await fifty()
  assert.ok((await world.send(model)).told! < 200)
})

test('a refusal that names a pool tells the cap too', async () => {
  const notes: (Partial<Notes> | undefined)[] = []
  const sizer = new RightSizer({
    handler: {
      handle: async (_invocation, answer) => {
        answer.refuse({ code: 'upstream-cut', message: '' }, NOTES)
        answer.refuse({ code: 'queue-full', message: '' })
        throw new Error('as far as it goes')
      },
    },
    useOf: () => 0,
    capped() {},
  })
  const operation = operationOf('/model/m/converse')
  const invocation: Invocation = {
    id: 'id',
    model: modelWith({ mode: 'fixed', tokens: 9 }),
    demand: { textBytes: 2, mediaTokens: 0, answers: 1 },
    flow: { priority: 'normal', client: 'open', user: 'ann' },
    maxWaitMs: 1,
    request: { operation, modelId: 'm', rawUrl: '/', headers: [], body: Buffer.from('{}') },
    presence: new Presence(),
  }
  const answer: Answer = { head() {}, data() {}, end() {}, cut() {}, refuse: (_refusal, said) => notes.push(said) }
  await assert.rejects(sizer.handle(invocation, answer), /as far/)
  assert.deepEqual(notes, [{ ...NOTES, outputCap: 9 }, undefined])
})

// ---- how much is in use ----

function statusOf(servedPerS: number[], reservedTokens: number, chargedTokens: number): ModelStatus {
  const classes = servedPerS.map(served => ({ servedPerS: served }) as ModelStatus['classes'][number])
  return {
    model: 'm',
    waiting: 0,
    inFlight: 0,
    gateways: 1,
    settled: { reservedTokens, chargedTokens },
    classes,
    pools: [],
  }
}

test('use is what was served, less what was given back; asked once a second, kept through a failure, then forgotten', async () => {
  const clock = new VirtualClock()
  let status: () => Promise<ModelStatus[]> = async () => [statusOf([0.5, 1, 0.5], 1000, 400)]
  let asked = 0
  const use = new QuotaUse(() => {
    asked += 1
    return status()
  }, clock)
  assert.equal(use.of('m'), 0)
  await clock.advance(500)
  assert.equal(use.of('m'), 0.8)
  assert.equal(use.of('another'), 0)
  assert.equal(asked, 1)
  status = () => Promise.reject(new Error('Redis is away'))
  await clock.advance(600)
  assert.equal(use.of('m'), 0.8)
  assert.equal(asked, 2)
  await clock.advance(9_000)
  assert.equal(use.of('m'), 0, 'of ten seconds ago')
  status = async () => [statusOf([0.3], 0, 0)]
  await clock.advance(1_000)
  use.of('m')
  await clock.advance(0)
  assert.equal(use.of('m'), 0.3, 'nothing settled yet')
})
