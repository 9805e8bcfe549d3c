// What failed is sent again, in virtual time over the real ledger: when, where, how often, at what price, and when not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ControlLoop } from '../../src/gateway/controlLoop.ts'
import type { ModelStatus } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { MemoryBoard } from '../support/memoryBoard.ts'
import { RETRIES } from '../support/pushback.ts'
import { seeded } from '../support/seeds.ts'
import { type Behaviour, RESERVED, VirtualGateway } from '../support/virtualGateway.ts'

const ANSWER: Behaviour = { kind: 'answers', status: 200, usage: undefined, afterMs: 5, takesMs: 5 }
const ERROR: Behaviour = { kind: 'errors', status: 503, afterMs: 5 }
const THROTTLE: Behaviour = { kind: 'throttles', afterMs: 5 }
const TWO = ['one', 'two']

const after =
  (...first: Behaviour[]) =>
  (send: number) =>
    first[send] ?? ANSWER

test('a failure and then an answer: the client sees the answer alone, and that it took two calls', async () => {
  const world = new VirtualGateway(after(ERROR), { pools: TWO })
  const { answer, over } = world.call('a', new Presence())
  await world.clock.advance(10_000)
  await over
  assert.deepEqual(answer.said, ['head 200', 'data', 'end'])
  assert.equal(answer.notes!.attempts, 2)
  const [run] = world.finished
  assert.deepEqual([run!.outcome, run!.attempts, run!.retries, run!.throttledBy], ['answered', 2, 1, []])
})

test('the retry goes to another pool when there is one', async () => {
  const world = new VirtualGateway(after(ERROR), { pools: TWO })
  world.call('a', new Presence())
  await world.clock.advance(10_000)
  const [first, second] = world.sent
  assert.deepEqual([first!.pool, second!.pool].toSorted(), TWO)
  assert.deepEqual(world.retries, [
    { model: 'm', pool: first!.pool, client: 'open', reservedTokens: RESERVED, chargedTokens: 0 },
  ])
})

const CHARGES: [string, Behaviour, number][] = [
  ["Bedrock's own error cost nothing", ERROR, 0],
  ['a call that was never sent cost nothing', { kind: 'fails', sent: false, afterMs: 5 }, 0],
  ['a call without an answer may have cost all', { kind: 'fails', sent: true, afterMs: 5 }, RESERVED],
]
for (const [what, failure, charged] of CHARGES) {
  test(`the ledger is told at the requeue: ${what}`, async () => {
    const world = new VirtualGateway(after(failure), { pools: TWO })
    world.call('a', new Presence())
    await world.clock.advance(10_000)
    assert.deepEqual(world.requeued, [charged])
    assert.deepEqual(world.settlements.get('a'), [RESERVED], 'and of the answer, once, at the end')
  })
}

test('the backoff is drawn anew each time and doubles: half of 100, 200 and 400 ms', async () => {
  const world = new VirtualGateway(() => ERROR, { pools: ['a', 'b', 'c', 'd'] })
  world.call('a', new Presence())
  await world.clock.advance(20_000)
  const gaps = world.sent.slice(1).map(({ atMs }, i) => atMs - world.sent[i]!.atMs - 5)
  assert.deepEqual(gaps, [50, 100, 200])
})

test("Bedrock's hint is waited for, but for no longer than 5 s beyond the backoff", async () => {
  for (const [hint, waitsMs] of [
    ['3', 3_000],
    ['60', 5_050],
    ['0', 50],
  ] as const) {
    const world = new VirtualGateway(after({ ...ERROR, headers: ['Retry-After', hint] }), { pools: TWO })
    world.call('a', new Presence())
    await world.clock.advance(20_000)
    assert.equal(world.sent[1]!.atMs - world.sent[0]!.atMs - 5, waitsMs, `Retry-After: ${hint}`)
  }
})

test('a backoff that would outlast the deadline is not begun: the failure is told at once', async () => {
  const world = new VirtualGateway(after({ ...ERROR, headers: ['x-amz-retry-after', '2000'] }))
  const { answer, over } = world.call('a', new Presence(), { maxWaitMs: 2_000 })
  await world.clock.advance(1_900)
  await over
  assert.deepEqual([answer.said, world.sent.length], [['head 503', 'data', 'end'], 1])
})

test('a client that leaves during the backoff ends it: nothing more is sent, nothing is said, all is settled', async () => {
  const world = new VirtualGateway(after({ ...ERROR, headers: ['retry-after', '4'] }))
  const presence = new Presence()
  const { answer, over } = world.call('a', presence)
  await world.clock.advance(1_000)
  presence.leave()
  await over
  await world.clock.advance(60_000)
  assert.deepEqual([answer.said, world.sent.length], [[], 1])
  assert.equal(world.finished[0]!.outcome, 'aborted')
  assert.deepEqual(world.settlements.get('a'), [0])
})

test('without budget a failure is told at once, and that the budget was why', async () => {
  const refused: string[] = []
  const world = new VirtualGateway(() => ERROR, {
    retries: { ...RETRIES, budgetShare: 0, budgetPerS: 0.1 },
    onRefused: model => void refused.push(model),
  })
  for (const id of ['a', 'b', 'c']) world.call(id, new Presence())
  await world.clock.advance(6_000)
  assert.equal(world.sent.length, 4, 'one retry was saved up')
  assert.ok(refused.length >= 2 && refused.every(model => model === 'm'))
})

test('throttles count as attempts, and one that is the last is told at once', async () => {
  const world = new VirtualGateway(after(ERROR, THROTTLE, THROTTLE), { retries: { ...RETRIES, maxAttempts: 2 } })
  const { answer, over } = world.call('a', new Presence())
  await world.clock.advance(10_000)
  await over
  assert.deepEqual([answer.said, world.sent.length], [['head 429', 'data', 'end'], 2])
  const [run] = world.finished
  assert.deepEqual([run!.retries, run!.throttledBy, run!.attempts], [1, ['only'], 2])
  assert.deepEqual(world.settlements.get('a'), [RESERVED])
})

test('with one attempt nothing is sent again', async () => {
  for (const failure of [ERROR, THROTTLE]) {
    const world = new VirtualGateway(() => failure, { retries: { ...RETRIES, maxAttempts: 1 } })
    world.call('a', new Presence())
    await world.clock.advance(10_000)
    assert.equal(world.sent.length, 1)
  }
})

test('a call that no quota meters is sent again by the same rules, without the ledger', async () => {
  const world = new VirtualGateway(after(ERROR, { kind: 'fails', sent: true, afterMs: 5 }))
  const { answer, over } = world.call('a', new Presence(), { metered: false, path: '/model/m/count-tokens' })
  await world.clock.advance(10_000)
  await over
  assert.deepEqual([answer.said, world.sent.length, world.requeued], [['head 200', 'data', 'end'], 3, []])
  assert.equal(world.settlements.size, 0)
})

test('a job that may have begun is not started twice; one that was never sent is', async () => {
  for (const [sent, calls] of [
    [true, 1],
    [false, 2],
  ] as const) {
    const world = new VirtualGateway(after({ kind: 'fails', sent, afterMs: 5 }), { pools: TWO })
    world.call('a', new Presence(), { path: '/async-invoke' })
    await world.clock.advance(10_000)
    assert.equal(world.sent.length, calls)
  }
})

test("a spent day's quota is told at once and charged nothing", async () => {
  const world = new VirtualGateway(() => ({ kind: 'throttles', afterMs: 5, of: 'day' }), { pools: TWO })
  const { answer, over } = world.call('a', new Presence())
  await world.clock.advance(1_000)
  await over
  assert.deepEqual([answer.said, world.sent.length], [['head 429', 'data', 'end'], 1])
  assert.deepEqual([world.settlements.get('a'), world.finished[0]!.throttledBy], [[0], []])
})

test('a turn that finds the send stage full is refused, and gives its reservation back whole', async () => {
  const world = new VirtualGateway(() => ({ kind: 'stalls' }), { stages: { maxSendsPerPool: 1, maxWaitingSends: 1 } })
  const [running, waiting] = [new Presence(), new Presence()]
  world.call('running', running)
  world.call('waiting', waiting)
  await world.clock.advance(2_000)
  const { answer, over } = world.call('refused', new Presence())
  await world.clock.advance(2_000)
  await over
  assert.deepEqual(answer.said, ['refuse overloaded'])
  assert.deepEqual(world.settlements.get('refused'), [0])
  running.leave()
  await world.clock.advance(10)
  assert.deepEqual(world.sends.depth, { sending: 1, waiting: 0 })
  waiting.leave()
  await world.clock.advance(10)
  assert.deepEqual(world.sends.depth, { sending: 0, waiting: 0 })
})

const ms = fc.nat(3_000)
const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.record({
    kind: fc.constant('answers' as const),
    status: fc.constantFrom(200, 400, 500),
    usage: fc.constant(undefined),
    afterMs: ms,
    takesMs: ms,
  }),
  fc.record({
    kind: fc.constant('throttles' as const),
    afterMs: ms,
    of: fc.constantFrom('requests', 'unclear', 'day'),
  }),
  fc.record({
    kind: fc.constant('errors' as const),
    status: fc.constantFrom(429, 500, 529),
    afterMs: ms,
    headers: fc.constantFrom<string[]>([], ['retry-after', '2'], ['retry-after', 'x']),
  }),
  fc.record({ kind: fc.constant('fails' as const), sent: fc.boolean(), afterMs: ms }),
  fc.record({ kind: fc.constant('cuts' as const), afterMs: ms, takesMs: ms }),
)
const call = fc.record({
  gapMs: fc.nat(500),
  maxWaitMs: fc.nat(20_000),
  leavesAfterMs: fc.option(fc.nat(20_000)),
  metered: fc.boolean(),
})
const world = fc.record({
  pools: fc.constantFrom(['one'], TWO),
  script: fc.array(behaviour, { minLength: 1, maxLength: 12 }),
  calls: fc.array(call, { minLength: 1, maxLength: 40 }),
  stages: fc.record({ maxSendsPerPool: fc.integer({ min: 1, max: 8 }), maxWaitingSends: fc.nat(4) }),
  maxAttempts: fc.integer({ min: 1, max: 6 }),
})

test('whatever fails, throttles, stalls or leaves: attempts and retries keep their bounds, every slot and every reservation comes back, every call is counted', async t => {
  await fc.assert(
    fc.asyncProperty(world, async ({ pools, script, calls, stages, maxAttempts }) => {
      const budget = { budgetShare: 0.1, budgetPerS: 0.2 }
      let board: MemoryBoard | undefined
      let failures = 0
      const gateway = new VirtualGateway(send => script[send % script.length]!, {
        pools,
        stages,
        retries: { ...RETRIES, ...budget, maxAttempts },
        control: clock => {
          board = new MemoryBoard(clock, pools)
          return new ControlLoop({
            board: board.of('here'),
            law: {
              steer(_model, state, reports) {
                for (const { counts } of reports) failures += counts.failed
                return { steering: { state, pools: [] }, events: [] }
              },
              standings: () => [],
            },
            clock,
            dice: () => 0.5,
            soon: task => void clock.after(0, task),
            onEvents() {},
            onTrouble() {},
          })
        },
      })
      const startMs = gateway.clock.nowMs()
      for (const [i, { gapMs, maxWaitMs, leavesAfterMs, metered }] of calls.entries()) {
        await gateway.clock.advance(gapMs)
        const presence = new Presence()
        if (leavesAfterMs !== null) gateway.clock.after(leavesAfterMs, () => presence.leave())
        gateway.call(String(i), presence, { maxWaitMs, metered })
      }
      await gateway.clock.advance(600_000)
      assert.equal(gateway.finished.length, calls.length)
      assert.deepEqual(gateway.sends.depth, { sending: 0, waiting: 0 })
      const [{ waiting, inFlight }] = (await gateway.ledger.status()) as [ModelStatus]
      assert.deepEqual([waiting, inFlight], [0, 0])
      for (const [id, settled] of gateway.settlements) assert.equal(settled.length, 1, `${id} was settled ${settled}`)
      const sum = (of: (run: (typeof gateway.finished)[number]) => number) =>
        gateway.finished.reduce((total, run) => total + of(run), 0)
      const retries = sum(run => run.retries)
      assert.equal(
        sum(run => run.attempts),
        gateway.sent.length,
      )
      for (const run of gateway.finished) assert.ok(run.attempts <= maxAttempts, `${run.attempts} of ${maxAttempts}`)
      assert.equal(gateway.retries.length, retries)
      const lastMs = gateway.sent.at(-1)?.atMs ?? startMs
      // Calls that no model's quota meters have a budget of their own.
      const floor = 2 * budget.budgetPerS * ((lastMs - startMs) / 1_000 + 10)
      assert.ok(retries <= budget.budgetShare * calls.length + floor + 1e-6, `${retries} retries`)
      assert.ok(failures <= gateway.sent.length)
    }),
    seeded(t, 150),
  )
})
