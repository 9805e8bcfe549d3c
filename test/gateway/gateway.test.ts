// The use case in virtual time, over the real memory ledger: every ending of every call, settled exactly once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { settledTokens, type Usage } from '../../src/domain/charge.ts'
import type { Finished, ModelStatus } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { seeded } from '../support/seeds.ts'
import { type Behaviour, RESERVED, type Recorder, VirtualGateway as World } from '../support/virtualGateway.ts'

const USAGE: Usage = { inputTokens: 10, outputTokens: 20, cacheReadTokens: 0, cacheWriteTokens: 0 }

async function one(behaviour: Behaviour, metered = true) {
  const world = new World(() => behaviour)
  const { answer, over } = world.call('a', new Presence(), { metered })
  await world.clock.advance(120_000)
  await over
  return { world, answer, run: world.finished[0]!, charged: world.settlements.get('a') }
}

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
    "Bedrock's own error that was too long to hold back is charged nothing",
    { kind: 'answers', status: 500, usage: undefined, afterMs: 5, takesMs: 5 },
    ['head 500', 'data', 'end'],
    'answered',
    0,
  ],
  [
    'a failure of Bedrock for ever is handed on in its own words after four sends, and charged nothing',
    { kind: 'errors', status: 503, afterMs: 5 },
    ['head 503', 'data', 'end'],
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
    const isRepeated = ['throttles', 'errors', 'fails'].includes(behaviour.kind)
    assert.equal(result.run.attempts, isRepeated ? 4 : 1)
    assert.equal(result.run.retries, isRepeated && behaviour.kind !== 'throttles' ? 3 : 0)
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
  fc.record({ kind: fc.constant('errors' as const), status: fc.constantFrom(429, 500, 529), afterMs: ms }),
  fc.record({ kind: fc.constant('fails' as const), sent: fc.boolean(), afterMs: ms }),
  fc.record({ kind: fc.constant('cuts' as const), afterMs: ms, takesMs: ms }),
)

test('whatever the upstream and the client do, each call ends once, is settled once, and says one whole thing', async t => {
  const call = fc.record({ gapMs: fc.nat(500), maxWaitMs: fc.nat(20_000), leavesAfterMs: fc.option(fc.nat(20_000)) })
  const scripts = fc.array(behaviour, { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(
      scripts,
      fc.array(call, { minLength: 1, maxLength: 30 }),
      fc.nat(3),
      async (script, calls, unattended) => {
        const world = new World(send => script[send % script.length]!, { unattended })
        const answers: Recorder[] = []
        for (const [i, { gapMs, maxWaitMs, leavesAfterMs }] of calls.entries()) {
          await world.clock.advance(gapMs)
          const abort = new Presence()
          if (leavesAfterMs !== null) world.clock.after(leavesAfterMs, () => abort.leave())
          answers.push(world.call(String(i), abort, { maxWaitMs }).answer)
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
      },
    ),
    seeded(t, 100),
  )
})
