// Each algorithm's exact guarantee, checked against every interval of random histories; and how much they keep.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { LimitSettings } from '../../src/domain/limits/clientLimits.ts'
import { ClientMeter } from '../../src/domain/limits/clientMeter.ts'
import { ALGORITHMS, type Algorithm } from '../../src/domain/limits/meter.ts'
import { SlidingWindowLog } from '../../src/domain/limits/slidingWindowLog.ts'
import { TokenBucket } from '../../src/domain/limits/tokenBucket.ts'
import { seeded } from '../support/seeds.ts'

const MINUTE_MS = 60_000
const START_MS = Date.UTC(2026, 10, 22)

/** What a call was charged at the time it was let in. */
interface Taken {
  atMs: number
  charged: number
}

/** The most that `calls`, by time, may have been charged in all. */
type Guarantee = (calls: Taken[], limit: number) => number

const perMinute = (limit: number, ms: number) => (limit * ms) / MINUTE_MS
const lengthOf = (calls: Taken[]) => calls.at(-1)!.atMs - calls[0]!.atMs
const isOneMinute = (calls: Taken[]) => new Set(calls.map(call => Math.floor(call.atMs / MINUTE_MS))).size === 1

const GUARANTEES: Record<Algorithm, Guarantee> = {
  'token-bucket': (calls, limit) => limit + perMinute(limit, lengthOf(calls)),
  'leaky-bucket': (calls, limit) =>
    perMinute(limit, lengthOf(calls)) + Math.max(limit / 60, 1, ...calls.map(call => call.charged)),
  'sliding-window-counter': (calls, limit) => {
    if (isOneMinute(calls)) return limit
    return lengthOf(calls) < MINUTE_MS ? limit + perMinute(limit, lengthOf(calls)) : Infinity
  },
  'sliding-window-log': (calls, limit) => (lengthOf(calls) < MINUTE_MS ? limit : Infinity),
  'fixed-window': (calls, limit) => (isOneMinute(calls) ? limit : Infinity),
}

interface Step {
  waitMs: number
  tokens: number
  /** The part of it that is charged. */
  share: number
  /** After so many further steps. */
  endsAfter: number
}

const gaps = fc.oneof(fc.constant(0), fc.nat(50), fc.nat(2_000), fc.nat(70_000))
const step = (limit: number) =>
  fc.record({
    waitMs: gaps,
    tokens: fc.oneof(fc.integer({ min: 1, max: limit }), fc.integer({ min: 1, max: Math.ceil(limit / 20) })),
    share: fc.constantFrom(0, 0.1, 0.5, 1, 1),
    endsAfter: fc.oneof(fc.nat(8), fc.nat(40)),
  })
const histories = fc
  .constantFrom(7, 100, 60_000)
  .chain(limit =>
    fc.record({ limit: fc.constant(limit), steps: fc.array(step(limit), { maxLength: 60, size: 'max' }) }),
  )

function play(algorithm: Algorithm, limit: number, steps: Step[]): { taken: Taken[]; refused: Taken[] } {
  const settings: LimitSettings = { algorithm, tokensPerMinute: limit }
  const meter = new ClientMeter()
  const taken: Taken[] = []
  const refused: Taken[] = []
  const endings: { atStep: number; end: (nowMs: number) => void }[] = []
  let nowMs = START_MS + 17_000
  for (const [index, { waitMs, tokens, share, endsAfter }] of steps.entries()) {
    nowMs += waitMs
    for (const ending of endings) if (ending.atStep === index) ending.end(nowMs)
    if (meter.take(settings, tokens, nowMs)) {
      refused.push({ atMs: nowMs, charged: tokens })
      continue
    }
    const call = { atMs: nowMs, charged: tokens }
    taken.push(call)
    const end = meter.ending(settings, tokens)
    endings.push({
      atStep: index + 1 + endsAfter,
      end(atMs) {
        call.charged = Math.ceil(tokens * share)
        end(tokens * share, atMs)
      },
    })
  }
  return { taken, refused }
}

for (const algorithm of ALGORITHMS) {
  test(`${algorithm}: no interval is charged more than its guarantee says, whatever is given back and when`, t => {
    fc.assert(
      fc.property(histories, ({ limit, steps }) => {
        const { taken } = play(algorithm, limit, steps)
        for (let first = 0; first < taken.length; first++)
          for (let last = first; last < taken.length; last++) {
            const calls = taken.slice(first, last + 1)
            const charged = calls.reduce((sum, call) => sum + call.charged, 0)
            const most = GUARANTEES[algorithm](calls, limit)
            assert.ok(charged <= most + 1e-6, `${charged} of ${most} in ${lengthOf(calls)} ms`)
          }
      }),
      seeded(t, 1_000),
    )
  })

  test(`${algorithm}: who comes back when told to passes, and a millisecond earlier does not`, t => {
    const waits = fc.record({
      limit: fc.integer({ min: 1, max: 1e9 }),
      share: fc.double({ min: 0.001, max: 1, noNaN: true }),
    })
    fc.assert(
      fc.property(waits, fc.array(fc.nat(30_000), { maxLength: 20, size: 'max' }), ({ limit, share }, delays) => {
        const settings: LimitSettings = { algorithm, tokensPerMinute: limit }
        const amount = Math.ceil(limit * share)
        const meter = new ClientMeter()
        let nowMs = START_MS
        for (const delayMs of delays) {
          nowMs += delayMs
          const denial = meter.take(settings, amount, nowMs)
          if (!denial) continue
          assert.equal(meter.take(settings, amount, nowMs + denial.retryAfterMs - 1)?.retryAfterMs, 1)
          nowMs += denial.retryAfterMs
          assert.equal(meter.take(settings, amount, nowMs), undefined)
        }
      }),
      seeded(t, 300),
    )
  })
}

test('the log refuses only what would exceed the limit within a minute and the 59 ms that calls share an entry', t => {
  fc.assert(
    fc.property(histories, ({ limit, steps }) => {
      const whole = steps.map(one => ({ ...one, share: 1 }))
      const { taken, refused } = play('sliding-window-log', limit, whole)
      for (const { atMs, charged } of refused) {
        const within = taken.filter(one => one.atMs <= atMs && one.atMs > atMs - MINUTE_MS - 59)
        const used = within.reduce((sum, one) => sum + one.charged, 0)
        assert.ok(used + charged > limit, `${used} + ${charged} of ${limit}`)
      }
    }),
    seeded(t, 1_000),
  )
})

test('calls of one slot of a log count until the latest of them is a minute old', () => {
  const log = new SlidingWindowLog(2, START_MS)
  log.take(2, 1)
  log.advance(2, START_MS + 50)
  log.take(2, 1)
  assert.equal(log.msUntil(2, 1), MINUTE_MS)
  log.advance(2, START_MS + 50 + MINUTE_MS - 1)
  assert.equal(log.remaining(2), 0)
  log.advance(2, START_MS + 50 + MINUTE_MS)
  assert.equal(log.remaining(2), 2)
})

test('a log keeps 1,001 entries at most, however many calls there are', () => {
  const limit = 1e9
  const log = new SlidingWindowLog(limit, START_MS)
  let most = 0
  for (let ms = 0; ms < 3 * MINUTE_MS; ms++) {
    log.advance(limit, START_MS + ms)
    for (let call = 0; call < 3; call++) log.take(limit, 1)
    most = Math.max(most, log.entries.length)
  }
  assert.ok(most > 900 && most <= 1_001, `${most}`)
  assert.equal(log.remaining(limit) >= limit - 3 * (MINUTE_MS + 59), true)
})

test('a long call among many short ones gives back all that has not come back by itself', () => {
  const limit = 60_000
  const bucket = new TokenBucket(limit, START_MS)
  const long = bucket.take(limit, 10_000)
  // As much is used as comes back: no more than the 10,000 of the long call is ever missing, and no less.
  for (let ms = 0; ms < 30_000; ms += 100) {
    bucket.advance(limit, START_MS + ms)
    bucket.settle(limit, bucket.take(limit, 100), 100, 100)
  }
  bucket.settle(limit, long, 10_000, 0)
  assert.equal(bucket.remaining(limit), limit - 100)
})

/** Without giving back it would be 0.2. What is in flight must fit beside what was used, and windows fill in bursts. */
const LEAST_USED: Record<Algorithm, number> = {
  'token-bucket': 0.95,
  // One of these passes at a time, and what it reserved has leaked before it ends.
  'leaky-bucket': 0.19,
  'sliding-window-counter': 0.65,
  'sliding-window-log': 0.65,
  'fixed-window': 0.8,
}

for (const algorithm of ALGORITHMS) {
  test(`${algorithm}: a busy client that reserves five times what it uses is charged ${LEAST_USED[algorithm]} of its limit or more`, () => {
    const limit = 100_000
    const minutes = 10
    const settings: LimitSettings = { algorithm, tokensPerMinute: limit }
    const meter = new ClientMeter()
    const open: { atMs: number; end: (tokens: number, nowMs: number) => void }[] = []
    let charged = 0
    for (let ms = 0; ms < minutes * MINUTE_MS; ms += 100) {
      while (open[0] && open[0].atMs <= ms) {
        open.shift()!.end(2_000, START_MS + ms)
        charged += 2_000
      }
      while (!meter.take(settings, 10_000, START_MS + ms))
        open.push({ atMs: ms + 6_000, end: meter.ending(settings, 10_000) })
    }
    const used = charged / limit / minutes
    assert.ok(used >= LEAST_USED[algorithm] && used <= 1.1, `${used} of the limit`)
  })
}
