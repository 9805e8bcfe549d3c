// What a gateway tells of its calls: each is counted once in each way it should be, whatever comes first.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { noCounts, type PoolCounts } from '../../src/domain/poolReport.ts'
import { type SendSignal, Signals } from '../../src/gateway/signals.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const NOTHING = noCounts()

function setting() {
  const clock = new VirtualClock()
  let failures = 0
  const signals = new Signals(clock, () => {
    failures += 1
  })
  const only = () => {
    const news = signals.drain()
    assert.ok(news.length <= 1)
    return news[0]
  }
  return { clock, signals, only, failures: () => failures }
}

const ENDINGS: [string, (signal: SendSignal) => void, Partial<PoolCounts>, number][] = [
  [
    'an answer is a success, accepted, and charged what it was',
    signal => {
      signal.accepted()
      signal.succeeded()
      signal.settled(40)
    },
    { accepted: 1, succeeded: 1, tokens: 40 },
    0,
  ],
  ['a throttle by requests', signal => signal.throttled('requests'), { throttledRequests: 1 }, 0],
  ['a throttle by tokens', signal => signal.throttled('tokens'), { throttledTokens: 1 }, 0],
  ['a throttle that names no quota', signal => signal.throttled('unclear'), { throttledUnclear: 1 }, 0],
  ["a spent day's quota counts as unclear, with nothing accepted", s => s.throttled('day'), { throttledUnclear: 1 }, 0],
  [
    'a throttle used no tokens, though its reservation is spent here',
    signal => {
      signal.throttled('tokens')
      signal.settled(100)
    },
    { throttledTokens: 1 },
    0,
  ],
  ['a failure that was said was let in by the quota', s => s.failed(true), { accepted: 1, failed: 1, tokens: 100 }, 1],
  ['a failure without a word tells nothing of the quota', s => s.failed(false), { failed: 1, tokens: 100 }, 1],
]
for (const [what, end, counts, inRow] of ENDINGS) {
  test(what, async () => {
    const { clock, signals, only } = setting()
    end(signals.sent('p', 100))
    const told = { pool: 'p', counts: { ...NOTHING, sent: 1, ...counts }, failedInRow: inRow }
    const { youngestGoodMs, ...rest } = only()!
    assert.deepEqual(rest, told)
    assert.equal(youngestGoodMs, counts.succeeded === undefined ? undefined : 0)
    await clock.advance(10_000)
    assert.equal(only(), undefined, 'and nothing more comes of it later')
  })
}

test('a call that nobody throttled for 300 ms is accepted, and not before; then it is not accepted again', async () => {
  const { clock, signals, only } = setting()
  const signal = signals.sent('p', 1)
  await clock.advance(299)
  assert.equal(only()!.counts.accepted, 0)
  assert.equal(signals.isYoung, true)
  await clock.advance(1)
  assert.equal(only()!.counts.accepted, 1)
  assert.equal(signals.isYoung, false)
  signal.succeeded()
  assert.deepEqual(only()!.counts, { ...NOTHING, succeeded: 1 })
})

test('a call that outlasts many reports is still told of when it ends', async () => {
  const { clock, signals, only } = setting()
  const signal = signals.sent('p', 10)
  for (let i = 0; i < 20; i++) {
    await clock.advance(250)
    signals.drain()
  }
  signal.succeeded()
  signal.settled(4)
  assert.deepEqual(only()!.counts, { ...NOTHING, succeeded: 1, tokens: -6 })
})

test('failures in a row are those since the last success or report, and each asks for a report', () => {
  const { signals, only, failures } = setting()
  for (const isGood of [false, false, true, false]) {
    const signal = signals.sent('p', 0)
    if (isGood) signal.succeeded()
    else signal.failed(true)
  }
  assert.equal(only()!.failedInRow, 1)
  signals.sent('p', 0).failed(true)
  signals.sent('p', 0).failed(false)
  assert.equal(only()!.failedInRow, 2, 'the board adds them up')
  assert.equal(failures(), 5)
})

test('a call that was sent before the failures began ends no row, one sent since does, old enough or answered', async () => {
  const { clock, signals, only } = setting()
  const before = signals.sent('p', 0)
  await clock.advance(100)
  signals.sent('p', 0).failed(true)
  before.succeeded()
  const first = only()!
  assert.deepEqual([first.failedInRow, first.youngestGoodMs], [1, 100])
  signals.sent('p', 0).failed(true)
  signals.sent('p', 0)
  await clock.advance(300)
  const second = only()!
  assert.deepEqual([second.failedInRow, second.youngestGoodMs], [0, 300])
})

test('pools are told apart, and one without news is not told of', () => {
  const { signals } = setting()
  signals.sent('a', 5).succeeded()
  signals.sent('b', 7)
  assert.deepEqual(
    signals.drain().map(({ pool, counts }) => [pool, counts.tokens]),
    [
      ['a', 5],
      ['b', 7],
    ],
  )
  assert.deepEqual(signals.drain(), [])
})

test('20,000 young calls of one pool are kept at 10,000: the oldest count as accepted early', () => {
  const { signals, only } = setting()
  for (let i = 0; i < 20_000; i++) signals.sent('p', 0)
  assert.equal(only()!.counts.accepted, 10_000)
})

test('over random histories everything sent is accepted, throttled or failed once, and tokens add up', async t => {
  const call = fc.record({
    gapMs: fc.nat(400),
    lastsMs: fc.nat(1_000),
    ending: fc.constantFrom('succeeds' as const, 'throttles' as const, 'fails' as const, 'leaves' as const),
    reserved: fc.nat(1_000),
    charged: fc.nat(1_000),
    drains: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 60 }), async calls => {
      const { clock, signals } = setting()
      const sum = { ...NOTHING }
      const drain = () => {
        for (const { counts } of signals.drain())
          for (const key of Object.keys(counts) as (keyof PoolCounts)[]) sum[key] += counts[key]
      }
      let tokens = 0
      for (const { gapMs, lastsMs, ending, reserved, charged, drains } of calls) {
        await clock.advance(gapMs)
        const signal = signals.sent('p', reserved)
        tokens += ending === 'throttles' ? 0 : charged
        clock.after(lastsMs, () => {
          if (ending === 'succeeds') signal.succeeded()
          if (ending === 'fails') signal.failed(true)
          if (ending === 'throttles') signal.throttled('tokens')
          signal.settled(charged)
        })
        if (drains) drain()
      }
      await clock.advance(10_000)
      drain()
      const count = (ending: string) => calls.filter(one => one.ending === ending).length
      assert.deepEqual(
        [sum.sent, sum.succeeded, sum.failed, sum.throttledTokens, sum.tokens],
        [calls.length, count('succeeds'), count('fails'), count('throttles'), tokens],
      )
      // A throttle that came late was taken for an acceptance before.
      const late = calls.filter(one => one.ending === 'throttles' && one.lastsMs >= 300).length
      const sure = calls.length - count('throttles')
      assert.ok(sum.accepted >= sure && sum.accepted <= sure + late, `${sum.accepted} of ${sure} to ${sure + late}`)
    }),
    seeded(t, 100),
  )
})
