import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { diagnosed, metered, type Sighting, type UseMeter } from '../../src/domain/useMeter.ts'
import { seeded } from '../support/seeds.ts'

const QUOTA = { requestsPerMinute: 600, tokensPerMinute: 600_000 }
const idle = (believedPerMinute: number | undefined): Sighting => ({
  used: 0,
  believedPerMinute,
  limited: false,
  throttled: 0,
})
const REQUESTS = idle(300)
const TOKENS = idle(600_000)

/** Steps of 250 ms, from `fromMs`. */
function run(
  steps: number,
  seen: { requests?: Partial<Sighting>; tokens?: Partial<Sighting> },
  meter: UseMeter = [],
  fromMs = 0,
) {
  let after = meter
  for (let i = 1; i <= steps; i++) {
    const sightings = { requests: { ...REQUESTS, ...seen.requests }, tokens: { ...TOKENS, ...seen.tokens } }
    after = metered(after, sightings, 250, fromMs + i * 250)
  }
  return { meter: after, nowMs: fromMs + steps * 250 }
}

test('the evidence: what was used of the quota believed in and of the configured one, and who was held back for how long', () => {
  const { meter, nowMs } = run(480, { requests: { used: 1, limited: true }, tokens: { used: 500 } })
  const { binds, overMs, requests, tokens } = diagnosed(meter, QUOTA, nowMs)
  assert.deepEqual([binds, overMs], ['requests', 120_000])
  assert.deepEqual(requests, { used: 480, ofBelieved: 0.8, ofConfigured: 0.4, limitedPart: 1, throttled: 0 })
  assert.deepEqual(tokens, { used: 240_000, ofBelieved: 0.2, ofConfigured: 0.2, limitedPart: 0, throttled: 0 })
})

test('tokens bind when they hold more back; nothing does when hardly anybody is held back', () => {
  const more = run(100, { requests: { limited: true } })
  const { meter, nowMs } = run(200, { tokens: { limited: true } }, more.meter, more.nowMs)
  assert.equal(diagnosed(meter, QUOTA, nowMs).binds, 'tokens')
  const rare = run(4, { requests: { limited: true } })
  const most = run(96, {}, rare.meter, rare.nowMs)
  assert.equal(diagnosed(most.meter, QUOTA, most.nowMs).binds, 'neither')
})

test('while nobody is held back, what Bedrock throttles by binds', () => {
  const one = run(1, { tokens: { throttled: 1 } })
  const { meter, nowMs } = run(400, {}, one.meter, one.nowMs)
  assert.equal(diagnosed(meter, QUOTA, nowMs).binds, 'tokens')
})

test('a dimension without a quota has no evidence and never binds', () => {
  const { meter, nowMs } = run(100, { requests: { limited: true, throttled: 1 } })
  const { binds, requests } = diagnosed(meter, { tokensPerMinute: 600_000 }, nowMs)
  assert.deepEqual([binds, requests], ['neither', undefined])
})

test('what was more than five minutes ago is forgotten, by a meter nobody steps too', () => {
  const { meter, nowMs } = run(240, { requests: { used: 5, limited: true } })
  assert.equal(diagnosed(meter, QUOTA, nowMs + 3 * 60_000).requests!.used, 1_200)
  assert.deepEqual(diagnosed(meter, QUOTA, nowMs + 5 * 60_000).binds, 'neither')
  assert.equal(
    diagnosed(run(1, {}, meter, nowMs + 5 * 60_000).meter, QUOTA, nowMs + 5 * 60_000 + 250).requests!.used,
    0,
  )
})

test('time that nobody looked at counts as unused, and as held back for a second at most', () => {
  const meter = metered([], { requests: { ...REQUESTS, used: 60, limited: true }, tokens: TOKENS }, 60_000, 70_000)
  const { requests } = diagnosed(meter, QUOTA, 70_000)
  assert.equal(requests!.ofBelieved, 0.2)
  assert.equal(requests!.limitedPart, 1 / 60)
})

test('whatever happens, it keeps five slots at most and every figure stays finite', t => {
  const sighting = fc.record({
    used: fc.integer({ min: -100_000, max: 100_000 }),
    believedPerMinute: fc.option(fc.integer({ min: 1, max: 1e7 }), { nil: undefined }),
    limited: fc.boolean(),
    throttled: fc.nat(50),
  })
  const step = fc.record({
    requests: sighting,
    tokens: sighting,
    elapsedMs: fc.nat(400_000),
    jumpMs: fc.integer({ min: -200_000, max: 200_000 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let meter: UseMeter = []
      let nowMs = 1e9
      for (const { elapsedMs, jumpMs, ...seen } of steps) {
        nowMs += jumpMs
        meter = metered(meter, seen, elapsedMs, nowMs)
        assert.ok(meter.length <= 5)
        assert.deepEqual(JSON.parse(JSON.stringify(meter)), meter)
        const { requests, tokens } = diagnosed(meter, QUOTA, nowMs)
        for (const evidence of [requests!, tokens!]) {
          assert.ok(Object.values(evidence).every(Number.isFinite))
          assert.ok(evidence.limitedPart >= 0 && evidence.limitedPart <= 1)
        }
      }
    }),
    seeded(t, 200),
  )
})
