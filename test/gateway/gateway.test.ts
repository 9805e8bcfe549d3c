// The use case in virtual time, over the real memory ledger: every ending of every call, settled exactly once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { settledTokens, type Usage } from '../../src/domain/charge.ts'
import { InputEstimate } from '../../src/domain/estimate.ts'
import type { ModelSettings, PoolSettings } from '../../src/domain/model.ts'
import { Book } from '../../src/gateway/book.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import type {
  Answer,
  Finished,
  Invocation,
  Ledger,
  ModelStatus,
  Notes,
  Receiver,
  Upstream,
} from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { createMemoryLedger } from '../../src/memory/ledger.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { PLAIN } from '../support/models.ts'
import { VirtualClock } from '../support/virtualClock.ts'

/** What the upstream does with one send, each step after a while. */
type Behaviour =
  | { kind: 'answers'; status: number; usage: Usage | undefined; afterMs: number; takesMs: number }
  | { kind: 'throttles'; afterMs: number }
  | { kind: 'fails'; sent: boolean; afterMs: number }
  | { kind: 'cuts'; afterMs: number; takesMs: number }
  | { kind: 'stalls' }

const OPERATION = (() => {
  const match = matchOperation('POST', '/model/m/converse')
  if (match.kind !== 'found') throw new Error('unreachable')
  return match.route.operation
})()
const POOL: PoolSettings = { name: 'only', region: 'us-east-1', tokensPerMinute: 600_000, requestsPerMinute: 600 }
const MODEL: ModelSettings = {
  name: 'm',
  modelIds: ['*'],
  outputBurndown: 5,
  maxOutputTokens: 100,
  bytesPerToken: 3.5,
  pools: [POOL],
  ...PLAIN,
}
const ADMISSION = { burst: 0.05, maxWaiting: 1_000, maxWaitingPerClient: 1_000 }
const USAGE: Usage = { inputTokens: 10, outputTokens: 20, cacheReadTokens: 0, cacheWriteTokens: 0 }

class World {
  readonly clock = new VirtualClock()
  readonly finished: Finished[] = []
  readonly settlements = new Map<string, number[]>()
  readonly ledger: Ledger
  readonly book: Book
  abandoned = 0

  constructor(script: (send: number) => Behaviour) {
    const inner = createMemoryLedger([MODEL], ADMISSION, this.clock)
    this.ledger = {
      acquire: (ask, presence) => inner.acquire(ask, presence),
      requeue: (ask, presence) => inner.requeue(ask, presence),
      settle: (ask, charged) => {
        this.settlements.set(ask.ticketId, [...(this.settlements.get(ask.ticketId) ?? []), charged])
        inner.settle(ask, charged)
      },
      configure: (models, admission) => inner.configure(models, admission),
      status: () => inner.status(),
      report: async () => ({ nowMs: 0, state: '', gates: [] }),
      steer: async () => {},
      health: () => inner.health(),
    }
    const gateway = new Gateway({
      ledger: this.ledger,
      upstream: this.#upstream(script),
      clock: this.clock,
      estimates: new Map([['m', new InputEstimate(3.5)]]),
      weightOf: () => 1,
      poolOf: () => POOL,
      unmeteredPool: () => POOL,
    })
    this.book = new Book(gateway, { finished: run => this.finished.push(structuredClone(run)) })
  }

  #upstream(script: (send: number) => Behaviour): Upstream {
    let sends = 0
    return {
      send: (_pool, _request, receiver) => {
        const cancels = play(this.clock, script(sends++), receiver)
        return () => {
          this.abandoned += 1
          for (const cancel of cancels) cancel()
          return true
        }
      },
    }
  }

  call(id: string, presence: Presence, maxWaitMs = 30_000, metered = true): { answer: Recorder; over: Promise<void> } {
    const answer = new Recorder()
    const invocation: Invocation = {
      id,
      ...(metered && { model: MODEL, demand: { textBytes: 350, mediaTokens: 0, answers: 1 } }),
      flow: { priority: 'normal', client: 'open', user: 'ann' },
      maxWaitMs,
      request: { operation: OPERATION, rawUrl: '/model/m/converse', headers: [], body: Buffer.alloc(0) },
      presence,
    }
    return { answer, over: this.book.handle(invocation, answer) }
  }
}

/** What a client would see. */
class Recorder implements Answer {
  readonly said: string[] = []
  notes: Notes | undefined
  head(status: number, _headers: string[], notes: Notes): void {
    this.said.push(`head ${status}`)
    this.notes = notes
  }
  data(): void {
    this.said.push('data')
  }
  end(): void {
    this.said.push('end')
  }
  cut(): void {
    this.said.push('cut')
  }
  refuse(refusal: { code: string }): void {
    this.said.push(`refuse ${refusal.code}`)
  }
}

function play(clock: VirtualClock, behaviour: Behaviour, receiver: Receiver): (() => void)[] {
  const flow = { pause() {}, resume() {} }
  const refusal = { code: 'upstream-cut', message: 'x' } as const
  if (behaviour.kind === 'stalls') return []
  if (behaviour.kind === 'throttles') {
    const reply = { status: 429, headers: [], body: Buffer.from('x') }
    return [clock.after(behaviour.afterMs, () => receiver.throttled(reply))]
  }
  if (behaviour.kind === 'fails')
    return [clock.after(behaviour.afterMs, () => receiver.failed(refusal, behaviour.sent))]
  const overMs = behaviour.afterMs + behaviour.takesMs
  const status = behaviour.kind === 'answers' ? behaviour.status : 200
  return [
    clock.after(behaviour.afterMs, () => receiver.head(status, [], flow)),
    clock.after(overMs, () => {
      receiver.data(Buffer.from('x'))
      if (behaviour.kind === 'answers') receiver.end(behaviour.usage)
      else receiver.failed(refusal, true)
    }),
  ]
}

async function one(behaviour: Behaviour, metered = true) {
  const world = new World(() => behaviour)
  const { answer, over } = world.call('a', new Presence(), 30_000, metered)
  await world.clock.advance(120_000)
  await over
  return { world, answer, run: world.finished[0]!, charged: world.settlements.get('a') }
}

const RESERVED = 200

const ENDINGS: [string, Behaviour, string[], Finished['outcome'], number][] = [
  [
    'an answer with usage is charged as Bedrock charges',
    { kind: 'answers', status: 200, usage: USAGE, afterMs: 5, takesMs: 5 },
    ['head 200', 'data', 'end'],
    'answered',
    settledTokens(USAGE, 5),
  ],
  [
    'an answer without usage keeps its reservation',
    { kind: 'answers', status: 200, usage: undefined, afterMs: 5, takesMs: 5 },
    ['head 200', 'data', 'end'],
    'answered',
    RESERVED,
  ],
  [
    "Bedrock's own error is charged nothing",
    { kind: 'answers', status: 500, usage: undefined, afterMs: 5, takesMs: 5 },
    ['head 500', 'data', 'end'],
    'answered',
    0,
  ],
  [
    'a call that was never sent is charged nothing',
    { kind: 'fails', sent: false, afterMs: 5 },
    ['refuse upstream-cut'],
    'refused',
    0,
  ],
  [
    'a call that broke after it was sent keeps its reservation',
    { kind: 'fails', sent: true, afterMs: 5 },
    ['refuse upstream-cut'],
    'refused',
    RESERVED,
  ],
  [
    'a cut answer keeps its reservation and never looks whole',
    { kind: 'cuts', afterMs: 5, takesMs: 5 },
    ['head 200', 'data', 'cut'],
    'cut',
    RESERVED,
  ],
  [
    'a throttle for ever is handed on after four sends',
    { kind: 'throttles', afterMs: 5 },
    ['head 429', 'data', 'end'],
    'answered',
    RESERVED,
  ],
]
for (const [what, behaviour, said, outcome, charged] of ENDINGS) {
  test(`${what}, and settled exactly once`, async () => {
    const result = await one(behaviour)
    assert.deepEqual(result.answer.said, said)
    assert.equal(result.run.outcome, outcome)
    assert.deepEqual(result.charged, [charged])
    assert.equal(result.run.attempts, behaviour.kind === 'throttles' ? 4 : 1)
  })
}

test('an unmetered call is sent at once, draws on no quota and is never settled', async () => {
  const { answer, charged, run } = await one(
    { kind: 'answers', status: 200, usage: USAGE, afterMs: 5, takesMs: 5 },
    false,
  )
  assert.deepEqual(answer.said, ['head 200', 'data', 'end'])
  assert.deepEqual([charged, run.waitMs, run.model], [undefined, 0, 'none'])
})

test("an unmetered call's throttle is the client's to see, after one send", async () => {
  const { answer, run } = await one({ kind: 'throttles', afterMs: 5 }, false)
  assert.deepEqual([answer.said, run.attempts], [['head 429', 'data', 'end'], 1])
})

test('a client that leaves while the upstream thinks abandons the call at once and keeps its reservation as the charge', async () => {
  const world = new World(() => ({ kind: 'stalls' }))
  const abort = new Presence()
  const { answer, over } = world.call('a', abort)
  await world.clock.advance(5_000)
  abort.leave()
  await over
  assert.equal(world.abandoned, 1)
  assert.deepEqual(answer.said, [])
  assert.deepEqual(world.settlements.get('a'), [RESERVED])
  assert.equal(world.finished[0]!.outcome, 'aborted')
})

const ms = fc.integer({ min: 0, max: 4_000 })
const usage = fc.record({
  inputTokens: fc.nat(500),
  outputTokens: fc.nat(500),
  cacheReadTokens: fc.nat(500),
  cacheWriteTokens: fc.nat(500),
})
const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.record({
    kind: fc.constant('answers' as const),
    status: fc.constantFrom(200, 400, 500),
    usage: fc.option(usage, { nil: undefined }),
    afterMs: ms,
    takesMs: ms,
  }),
  fc.record({ kind: fc.constant('throttles' as const), afterMs: ms }),
  fc.record({ kind: fc.constant('fails' as const), sent: fc.boolean(), afterMs: ms }),
  fc.record({ kind: fc.constant('cuts' as const), afterMs: ms, takesMs: ms }),
)

test('whatever the upstream and the client do, each call ends once, is settled once, and says one whole thing', async () => {
  const call = fc.record({ gapMs: fc.nat(500), maxWaitMs: fc.nat(20_000), leavesAfterMs: fc.option(fc.nat(20_000)) })
  const scripts = fc.array(behaviour, { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(scripts, fc.array(call, { minLength: 1, maxLength: 30 }), async (script, calls) => {
      const world = new World(send => script[send % script.length]!)
      const answers: Recorder[] = []
      for (const [i, { gapMs, maxWaitMs, leavesAfterMs }] of calls.entries()) {
        await world.clock.advance(gapMs)
        const abort = new Presence()
        if (leavesAfterMs !== null) world.clock.after(leavesAfterMs, () => abort.leave())
        answers.push(world.call(String(i), abort, maxWaitMs).answer)
      }
      await world.clock.advance(600_000)
      assert.equal(world.book.inFlight, 0)
      assert.equal(world.finished.length, calls.length)
      const [{ waiting, inFlight, classes }] = (await world.ledger.status()) as [ModelStatus]
      assert.deepEqual([waiting, inFlight, classes.flatMap(one => one.flows)], [0, 0, []])
      for (const [id, settled] of world.settlements) assert.equal(settled.length, 1, `${id} was settled ${settled}`)
      for (const run of world.finished) {
        const said = answers[Number(run.id)]!.said.join(' ')
        const whole = /^(head \d+ data end|head \d+ data cut|refuse \S+|)$/
        assert.match(said, run.outcome === 'aborted' ? /^(head \d+( data)*|)$/ : whole)
        assert.ok(run.waitMs >= 0 && run.waitMs <= run.totalMs)
        assert.ok(run.attempts <= 4)
      }
    }),
    { numRuns: 100 },
  )
})
