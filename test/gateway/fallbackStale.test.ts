// The last good answer to the identical request: which answers are kept, whose they are, and how they are given again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Capture, CaptureSpace } from '../../src/gateway/capture.ts'
import { seeded } from '../support/seeds.ts'
import { DOWN, type Ending, FallbackBench, GOOD, modelOf, Recorder } from './fallbackBench.ts'

const REFUSED = '[refused upstream-unreachable]'

/** A bench whose model answered once, and fails from then on. */
async function after(ending: Ending, parts: ConstructorParameters<typeof FallbackBench>[1] = {}) {
  const bench = new FallbackBench([modelOf('a', ['stale'])], parts)
  bench.endings.set('a', [ending, DOWN])
  await bench.call('a')
  return bench
}

test('it is given with its status, headers and bytes, its age, and an id of its own', async () => {
  const headers = ['Date', 'x', 'Content-Type', 'text/x', 'X-Amzn-RequestId', 'old', 'content-length', '99', 'x-b', 'c']
  const bench = await after({ ...GOOD, headers })
  await bench.clock.advance(3_000)
  const { answer, run } = await bench.call('a')
  assert.equal(answer.said, '[200]good answer[end]')
  assert.deepEqual(answer.head_!.headers, [
    ...['Content-Type', 'text/x', 'x-b', 'c'],
    ...['age', '23', 'content-length', '11', 'x-amzn-requestid', 'id1'],
  ])
  assert.deepEqual(answer.head_!.notes, { waitMs: 5, attempts: 2, fallback: 'stale' })
  assert.deepEqual([run.outcome, run.status, run.fallback, run.refusal], ['answered', 200, 'stale', undefined])
  assert.deepEqual(bench.fellBack, [{ requestId: 'id1', model: 'a', kind: 'stale', reason: 'upstream-unreachable' }])
  assert.deepEqual(bench.rescued, [])
})

test('a newer answer takes the place of an older one', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  bench.endings.set('a', [GOOD, { ...GOOD, chunks: ['newer'] }, DOWN])
  for (let i = 0; i < 2; i++) await bench.call('a')
  assert.equal((await bench.call('a')).answer.said, '[200]newer[end]')
})

const LARGE = ['x'.repeat(60_000)]
const NOT_KEPT: [string, Ending][] = [
  ['an error', { ...GOOD, status: 400 }],
  ['an answer that broke off', { ...GOOD, chunks: LARGE, cut: true }],
  ['a stream that ended in an exception', { ...GOOD, chunks: LARGE, exception: 'modelStreamErrorException' }],
  ['an answer above its bytes', { ...GOOD, chunks: ['x'.repeat(64 * 1024), 'y'] }],
  ['an answer that not every client can decode', { ...GOOD, headers: ['Content-Encoding', 'gzip'] }],
]
for (const [what, ending] of NOT_KEPT) {
  test(`${what} is not kept`, async () => {
    const bench = await after(ending)
    assert.equal((await bench.call('a')).answer.said, REFUSED)
    assert.equal(bench.answers.bytes, 0)
  })
}

test('captures leave their space to others, whatever they came to', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  for (const [, ending] of NOT_KEPT) {
    // More bytes than all captures together may hold.
    bench.endings.set('a', [ending])
    for (let i = 0; i < 600; i++) await bench.call('a')
  }
  // Kept ones too.
  bench.endings.set('a', [{ ...GOOD, chunks: LARGE }])
  for (let i = 0; i < 600; i++) await bench.call('a')
  bench.endings.set('a', [{ ...GOOD, chunks: LARGE }, DOWN])
  await bench.call('a', { body: 'another' })
  assert.equal((await bench.call('a', { body: 'another' })).answer.label, 'stale')
})

test('an answer that its client did not wait for is not kept', async () => {
  const bench = new FallbackBench([modelOf('a', ['stale'])])
  bench.endings.set('a', [{ kind: 'hangs', status: 200, chunks: ['half'] }, DOWN])
  const { presence, over } = bench.start('a')
  await bench.clock.advance(100)
  presence.leave()
  await over
  assert.equal((await bench.call('a')).answer.said, REFUSED)
})

test('an answer of exactly its bytes is kept, however it was cut into chunks', async () => {
  const bench = await after({ ...GOOD, chunks: ['x'.repeat(5_000), '', 'y'.repeat(64 * 1024 - 5_001), 'z'] })
  const { said } = (await bench.call('a')).answer
  assert.ok(said === `[200]${'x'.repeat(5_000)}${'y'.repeat(64 * 1024 - 5_001)}z[end]`)
})

test('an answer is kept only of a model that falls back to it', async () => {
  const bench = new FallbackBench([modelOf('a', ['mock'])])
  bench.endings.set('a', [GOOD])
  await bench.call('a')
  assert.equal(bench.answers.bytes, 0)
})

test("another model's answer is not kept as the model's own", async () => {
  const bench = new FallbackBench([modelOf('a', ['stale', { model: 'b' }]), modelOf('b')])
  bench.endings.set('a', [DOWN])
  bench.endings.set('b', [GOOD, DOWN])
  assert.equal((await bench.call('a')).answer.label, 'model')
  assert.equal((await bench.call('a')).answer.said, REFUSED)
})

test('what is too old is not given, and is when it is not', async () => {
  const bench = await after(GOOD)
  await bench.clock.advance(60_000 - 20_000)
  assert.equal((await bench.call('a')).answer.label, 'stale')
  assert.equal((await bench.call('a')).answer.said, REFUSED)
})

test('with `shared` a client may get what another was answered', async () => {
  const bench = await after(GOOD, { stale: { maxAnswerBytes: 1024, shared: true } })
  assert.equal((await bench.call('a', { client: 'ben' })).answer.label, 'stale')
})

test('no client is ever given what another was answered, nor the answer to another request', async t => {
  const call = fc.record({
    client: fc.constantFrom('ann', 'ben', 'a', ''),
    body: fc.constantFrom('{}', '{ }', '{"a":1}', ''),
    isUp: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 2, maxLength: 30 }), async calls => {
      const bench = new FallbackBench([modelOf('a', ['stale'])], {}, 1e9)
      const last = new Map<string, string>()
      for (const [i, { client, body, isUp }] of calls.entries()) {
        bench.endings.set('a', [isUp ? { ...GOOD, chunks: [`answer ${i} to ${client}`] } : DOWN])
        const { answer } = await bench.call('a', { client, body })
        const mine = `${client} asks ${body}`
        if (isUp) last.set(mine, answer.said)
        else assert.equal(answer.said, last.get(mine) ?? REFUSED)
        assert.equal(answer.label, !isUp && last.has(mine) ? 'stale' : undefined)
      }
    }),
    seeded(t, 200),
  )
})

test('captures take no more than their space, and give it back', async () => {
  const space = new CaptureSpace(10_000)
  const captures = Array.from({ length: 5 }, () => new Capture(new Recorder(), 6_000, space))
  for (const capture of captures) capture.head(200, [], { waitMs: 0, attempts: 1 }, { pause() {}, resume() {} })
  assert.equal(space.leftBytes, 10_000 - 2 * 4096)
  // Both would need 6,000: the first has it, the second is dropped.
  for (const capture of captures) capture.data(Buffer.alloc(4_097))
  for (const capture of captures) capture.end()
  assert.deepEqual(
    captures.map(capture => capture.reply?.body.length),
    [undefined, 4_097, undefined, undefined, undefined],
  )
  for (const capture of captures) capture.drop()
  assert.equal(space.leftBytes, 10_000)
})
