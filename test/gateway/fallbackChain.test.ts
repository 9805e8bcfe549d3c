// The chain in virtual time: what it rescues and what it leaves alone, in which order, and what is said of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { FallbackStep } from '../../src/domain/model.ts'
import type { RefusalCode } from '../../src/domain/refusal.ts'
import { Guard } from '../../src/gateway/guard.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { DOWN, type Ending, FallbackBench, GOOD, modelOf, Recorder } from './fallbackBench.ts'

const ALL: [RefusalCode, boolean][] = [
  ['no-pool-open', true],
  ['queue-full', true],
  ['client-queue-full', true],
  ['wait-too-long', true],
  ['wait-timeout', true],
  ['unknown-pool', true],
  ['overloaded', true],
  ['upstream-unreachable', true],
  ['upstream-cut', true],
  ['upstream-timeout', true],
  ['upstream-invalid', true],
  ['cannot-fit', false],
  ['internal', false],
  ['malformed-request', false],
  ['unknown-model', false],
]
for (const [code, isRescued] of ALL) {
  test(`${code} ${isRescued ? 'is rescued' : "stays the client's to see"}`, async () => {
    const bench = new FallbackBench([modelOf('a', ['mock'])])
    bench.endings.set('a', [{ kind: 'refuses', code }])
    const { answer, run } = await bench.call('a')
    assert.equal(answer.said, isRescued ? '[200]mock[end]' : `[refused ${code}]`)
    assert.equal(answer.label, isRescued ? 'mock' : undefined)
    assert.deepEqual([run.outcome, run.fallback], isRescued ? ['answered', 'mock'] : ['refused', undefined])
    assert.equal(run.refusal?.code, isRescued ? undefined : code)
    assert.deepEqual(bench.fellBack, isRescued ? [{ requestId: 'id0', model: 'a', kind: 'mock', reason: code }] : [])
  })
}

for (const status of [200, 400, 403, 404, 408, 413, 424, 429, 500, 502, 503, 504]) {
  const isRescued = [408, 424, 429, 500, 502, 503, 504].includes(status)
  test(`an answer of Bedrock's with ${status} ${isRescued ? 'is rescued' : 'passes'}`, async () => {
    const bench = new FallbackBench([modelOf('a', ['mock'])])
    bench.endings.set('a', [{ kind: 'replies', status, chunks: ['its', ' words'] }])
    const { answer, run } = await bench.call('a')
    assert.equal(answer.said, isRescued ? '[200]mock[end]' : `[${status}]its words[end]`)
    assert.equal(run.status, isRescued ? 200 : status)
    if (isRescued) assert.equal(bench.fellBack[0]!.reason, String(status))
  })
}

/** Of a client whose protocol cannot carry such a head. */
function refusesHead(): never {
  throw new TypeError('no such header can be written')
}

test('a head that was held back and cannot be written is a refusal', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  bench.endings.set('a', [{ kind: 'replies', status: 503, chunks: ['its words'] }])
  const { answer, over } = bench.start('a')
  answer.head = refusesHead
  await bench.clock.advance(20_000)
  const run = await over
  assert.equal(answer.said, '[refused upstream-invalid]')
  assert.deepEqual([run.outcome, run.status, run.refusal?.code], ['refused', undefined, 'upstream-invalid'])
})

test('one that cannot be written when it has been held back for too long is a refusal, and no fault in a timer', async () => {
  const bench = new FallbackBench([modelOf('a', ['mock'])])
  bench.endings.set('a', [{ kind: 'hangs', status: 503, chunks: ['its'] }])
  const { answer, presence, over } = bench.start('a')
  answer.head = refusesHead
  await bench.clock.advance(20_000)
  assert.equal(answer.said, '[refused upstream-invalid]')
  presence.leave()
  await over
  assert.equal(answer.said, '[refused upstream-invalid]')
})

test('a kept answer that this client cannot be given leaves it to the next fallback', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale', 'mock'])])
  bench.endings.set('a', [GOOD, DOWN])
  await bench.call('a')
  const { answer, over } = bench.start('a')
  const { head } = answer
  answer.head = () => {
    answer.head = head
    refusesHead()
  }
  await bench.clock.advance(20_000)
  assert.equal((await over).fallback, 'mock')
  assert.equal(answer.said, '[200]mock[end]')
})

test('without fallbacks an invocation is handed on as it is, and would wait for a pool to open', async () => {
  const bench = new FallbackBench([modelOf('a')])
  bench.endings.set('a', [DOWN])
  const { answer, run } = await bench.call('a')
  assert.equal(answer.said, '[refused upstream-unreachable]')
  assert.equal(run.outcome, 'refused')
  assert.equal(bench.seen[0]!.refuseWhenShut, undefined)
})

test('with fallbacks it would rather be refused than wait for a pool to open', async () => {
  const bench = new FallbackBench([modelOf('a', ['mock'])])
  bench.endings.set('a', [GOOD])
  await bench.call('a')
  assert.equal(bench.seen[0]!.refuseWhenShut, true)
})

test('when no fallback answers either, it waits after all, for what is left of its deadline, and what comes of it is kept', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  const shut: Ending = { kind: 'refuses', code: 'no-pool-open', afterMs: 400 }
  bench.endings.set('a', [shut, GOOD, DOWN])
  const { answer, run } = await bench.call('a', { maxWaitMs: 1_000 })
  assert.equal(answer.said, '[200]good answer[end]')
  assert.deepEqual([run.id, run.outcome, run.fallback], ['id0', 'answered', undefined])
  const [first, second] = bench.seen
  assert.deepEqual([first!.refuseWhenShut, second!.refuseWhenShut], [true, undefined])
  assert.equal(second!.maxWaitMs, 600)
  assert.notEqual(second!.id, first!.id, 'a ticket that has ended cannot be used again')
  assert.equal((await bench.call('a')).answer.label, 'stale')
})

test('when nothing opens by its deadline either, the client hears how that wait ended', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  bench.endings.set('a', [
    { kind: 'refuses', code: 'no-pool-open' },
    { kind: 'refuses', code: 'wait-timeout' },
  ])
  const { answer, run } = await bench.call('a')
  assert.equal(answer.said, '[refused wait-timeout]')
  assert.deepEqual([run.id, run.refusal?.code], ['id0', 'wait-timeout'])
  assert.equal(bench.seen.length, 2)
})

for (const [what, asked] of [
  ['an unmetered call', { metered: false }],
  ['a job that is started', { rawUrl: '/async-invoke' }],
] as const) {
  test(`${what} has no fallback`, async () => {
    const bench = new FallbackBench([modelOf('a', ['stale', 'mock'])])
    bench.endings.set('a', [DOWN])
    assert.equal((await bench.call('a', asked)).answer.said, '[refused upstream-unreachable]')
    assert.equal(bench.seen[0]!.refuseWhenShut, undefined)
  })
}

test('when none answers, the client gets the reply or refusal that it would have got', async () => {
  const endings: [Ending, string][] = [
    [{ kind: 'replies', status: 503, chunks: ['its', ' words'], headers: ['x-a', 'b'] }, '[503]its words[end]'],
    [{ kind: 'replies', status: 500, chunks: ['its'], cut: true, headers: ['x-a', 'b'] }, '[500]its[cut]'],
    [{ kind: 'refuses', code: 'wait-timeout' }, '[refused wait-timeout]'],
  ]
  for (const [ending, said] of endings) {
    const bench = new FallbackBench([modelOf('a', ['stale', { model: 'b' }, 'mock']), modelOf('b')], {
      mock: () => undefined,
    })
    bench.endings.set('a', [ending])
    bench.endings.set('b', [{ kind: 'replies', status: 400, chunks: ['a body of another provider'] }])
    const { answer, run } = await bench.call('a')
    assert.equal(answer.said, said)
    assert.equal(answer.label, undefined)
    assert.equal(run.fallback, undefined)
    if (ending.kind === 'refuses') assert.equal(answer.refusal!.retryAfterMs, 700)
    else assert.deepEqual(answer.head_!.headers, ['x-a', 'b'])
    assert.deepEqual(bench.fellBack, [])
    assert.deepEqual(
      bench.rescued.map(({ model, outcome, status }) => [model, outcome, status]),
      [['b', 'rescued', 400]],
    )
  }
})

test('the steps are tried in their order, and the first that answers is the last', async () => {
  const bench = new FallbackBench([modelOf('a', [{ model: 'b' }, { model: 'c' }, 'mock']), modelOf('b'), modelOf('c')])
  bench.endings.set('a', [DOWN])
  bench.endings.set('b', [{ kind: 'refuses', code: 'cannot-fit' }])
  bench.endings.set('c', [GOOD])
  const { answer, run } = await bench.call('a')
  assert.equal(answer.said, '[200]good answer[end]')
  assert.deepEqual(answer.head_!.notes, { pool: 'c-pool', waitMs: 5, attempts: 2, fallback: 'model' })
  assert.deepEqual([run.model, run.outcome, run.fallback, run.id], ['c', 'answered', 'model', 'id0-3'])
  assert.deepEqual(
    bench.rescued.map(({ id, model, outcome, refusal }) => [id, model, outcome, refusal?.code]),
    [
      ['id0-2', 'b', 'rescued', 'cannot-fit'],
      ['id0', 'a', 'rescued', 'upstream-unreachable'],
    ],
  )
  assert.deepEqual(bench.fellBack, [{ requestId: 'id0', model: 'a', kind: 'model', reason: 'upstream-unreachable' }])
})

test('another model is asked by its own id, for what is left of the deadline, and its fallbacks are not followed', async () => {
  const bench = new FallbackBench([modelOf('a', [{ model: 'b' }]), modelOf('b', [{ model: 'a' }, 'mock'])])
  bench.endings.set('a', [{ ...DOWN, afterMs: 4_000 }])
  bench.endings.set('b', [DOWN])
  const { answer } = await bench.call('a', { maxWaitMs: 10_000 })
  assert.equal(answer.said, '[refused upstream-unreachable]')
  assert.equal(bench.seen.length, 2)
  const [first, second] = bench.seen
  assert.equal(second!.maxWaitMs, 6_000)
  assert.equal(second!.model, bench.models.get('b'))
  assert.equal(second!.request.rawUrl, '/model/maker.b/converse')
  assert.equal(second!.request.modelId, 'maker.b')
  assert.equal(second!.refuseWhenShut, true)
  assert.notEqual(second!.id, first!.id)
  assert.equal(second!.request.body, first!.request.body)
})

test('in a body only the id of the model changes', async () => {
  const bench = new FallbackBench([modelOf('a', [{ model: 'b' }]), modelOf('b')])
  bench.endings.set('a', [DOWN])
  bench.endings.set('b', [GOOD])
  const body = '{"x": "maker.a",  "model" :"maker.a", "messages":[ ]}'
  await bench.call('a', { rawUrl: '/openai/v1/chat/completions', body })
  const { request } = bench.seen[1]!
  assert.equal(request.body.toString(), '{"x": "maker.a",  "model" :"maker.b", "messages":[ ]}')
  assert.equal(request.rawUrl, '/openai/v1/chat/completions')
})

test("another model's answer that breaks off is broken off: a byte of it has reached the client", async () => {
  const bench = new FallbackBench([modelOf('a', [{ model: 'b' }, 'mock']), modelOf('b')])
  bench.endings.set('a', [DOWN])
  bench.endings.set('b', [{ ...GOOD, cut: true }])
  const { answer, run } = await bench.call('a')
  assert.equal(answer.said, '[200]good answer[cut]')
  assert.deepEqual([run.outcome, run.fallback], ['cut', 'model'])
})

test('an answer that breaks off after its head is not rescued', async () => {
  const bench = new FallbackBench([modelOf('a', ['mock'])])
  bench.endings.set('a', [{ ...GOOD, cut: true }])
  assert.equal((await bench.call('a')).answer.said, '[200]good answer[cut]')
})

test('a healthy answer passes at once, chunk by chunk', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale', 'mock'])])
  bench.endings.set('a', [{ kind: 'hangs', status: 200, chunks: ['first', 'second'] }])
  const { answer, presence, over } = bench.start('a')
  await bench.clock.advance(10)
  assert.equal(answer.said, '[200]firstsecond')
  presence.leave()
  assert.equal((await over).outcome, 'aborted')
})

test('a failure that is long, or long in coming, is handed on after all', async () => {
  const bench = new FallbackBench([modelOf('a', ['mock'])])
  bench.endings.set('a', [
    { kind: 'replies', status: 503, chunks: ['x'.repeat(40_000), 'y'.repeat(40_000), 'z'] },
    { kind: 'hangs', status: 503, chunks: ['x'] },
  ])
  const { answer, run } = await bench.call('a')
  assert.ok(answer.said === `[503]${'x'.repeat(40_000)}${'y'.repeat(40_000)}z[end]`)
  assert.equal(run.fallback, undefined)
  const slow = bench.start('a')
  await bench.clock.advance(1_999)
  assert.equal(slow.answer.said, '')
  await bench.clock.advance(20)
  assert.equal(slow.answer.said, '[503]x')
  slow.presence.leave()
  await slow.over
})

test('a client that leaves gets nothing, whenever it leaves', async () => {
  for (let leaveMs = 1; leaveMs < 60; leaveMs += 4) {
    const bench = new FallbackBench([modelOf('a', [{ model: 'b' }, 'mock']), modelOf('b')])
    bench.endings.set('a', [{ kind: 'replies', status: 503, chunks: ['x'], afterMs: 30 }])
    bench.endings.set('b', [{ ...DOWN, afterMs: 40 }])
    const { answer, presence, over } = bench.start('a')
    bench.clock.after(leaveMs, () => presence.leave())
    await bench.clock.advance(1_000)
    const run = await over
    assert.deepEqual([answer.said, run.outcome], ['', 'aborted'], `left after ${leaveMs} ms`)
    assert.deepEqual(bench.fellBack, [])
  }
})

test('a client that leaves while its kept answer is fetched gets nothing', async () => {
  const presence = new Presence()
  const reply = { status: 200, headers: [], body: Buffer.from('old') }
  const models = [modelOf('a', ['stale', { model: 'b' }, 'mock']), modelOf('b')]
  const bench = new FallbackBench(models, {
    answers: {
      get: async () => {
        presence.leave()
        return { reply, ageMs: 1 }
      },
      put: async () => {},
    },
  })
  for (const model of ['a', 'b']) bench.endings.set(model, [DOWN])
  const { answer, run } = await bench.call('a', { presence })
  assert.deepEqual([answer.said, run.outcome], ['', 'aborted'])
  assert.equal(bench.seen.length, 1, 'no other model is asked in its name')
})

const ending: fc.Arbitrary<Ending> = fc.oneof(
  fc.record({
    kind: fc.constant('refuses' as const),
    code: fc.constantFrom('cannot-fit', 'wait-timeout', 'overloaded'),
    afterMs: fc.nat(3_000),
  }),
  fc.record({
    kind: fc.constant('replies' as const),
    status: fc.constantFrom(200, 200, 400, 429, 503),
    chunks: fc.array(fc.constantFrom('x', '', 'y'.repeat(40_000)), { maxLength: 3 }),
    cut: fc.boolean(),
    afterMs: fc.nat(3_000),
  }),
  fc.record({ kind: fc.constant('hangs' as const), status: fc.constantFrom(0, 200, 503), afterMs: fc.nat(3_000) }),
)
const step = fc.constantFrom<FallbackStep>('stale', 'mock', { model: 'b' }, { model: 'c' })

test('whatever fails, a client hears one whole thing or, once it has left, nothing more; labelled when and only when told', async t => {
  const endings = fc.array(ending, { minLength: 1, maxLength: 4 })
  const call = fc.record({ body: fc.constantFrom('{}', '{"a":1}'), leavesAfterMs: fc.nat(8_000) })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 5 }),
      fc.tuple(endings, endings, endings),
      fc.array(call, { minLength: 1, maxLength: 6 }),
      async (fallback, [ofA, ofB, ofC], calls) => {
        const bench = new FallbackBench([modelOf('a', fallback), modelOf('b'), modelOf('c')])
        bench.endings.set('a', ofA)
        bench.endings.set('b', ofB)
        bench.endings.set('c', ofC)
        for (const { body, leavesAfterMs } of calls) {
          const before = { fellBack: bench.fellBack.length, seen: bench.seen.length, rescued: bench.rescued.length }
          const { answer, presence, over } = bench.start('a', { body })
          let saidWhenGone: string | undefined
          bench.clock.after(leavesAfterMs, () => {
            saidWhenGone = answer.said
            presence.leave()
          })
          await bench.clock.advance(60_000)
          const run = await over
          const whole = /^(\[\d+\][a-z]*\[(end|cut)\]|\[refused [a-z-]+\])$/
          if (run.outcome === 'aborted') assert.equal(answer.said, saidWhenGone)
          else assert.match(answer.said.replaceAll(/y+/g, 'y'), whole)
          const told = bench.fellBack.slice(before.fellBack).map(event => event.kind)
          assert.deepEqual(told, answer.label ? [answer.label] : [])
          if (run.outcome !== 'aborted') assert.equal(run.fallback, answer.label)
          // One line for each call that was made, the returned one among them.
          assert.equal(bench.rescued.length - before.rescued + 1, bench.seen.length - before.seen)
        }
      },
    ),
    seeded(t, 300),
  )
})

class Unwritable extends Recorder {
  override head(): never {
    throw new Error('a header that no protocol carries')
  }
}

test('what was held back too long and cannot be written is refused by the timer, and nothing follows', async () => {
  const clock = new VirtualClock()
  const answer = new Unwritable()
  const guard = new Guard(answer, clock)
  guard.head(503, ['x', '\0'], { waitMs: 0, attempts: 1 }, { pause() {}, resume() {} })
  guard.data(Buffer.from('half'))
  await clock.advance(2_000)
  guard.data(Buffer.from('other half'))
  guard.end()
  guard.cut()
  assert.equal(answer.said, '[refused upstream-invalid]')
})
