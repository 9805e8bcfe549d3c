// What every store of clients' limits promises, told as stories in time; run for each algorithm and each store.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, type Algorithm } from '../../src/domain/limits/meter.ts'
import { type LimitsKind, requests, Story, tokens } from './limitsBench.ts'

/** What tells the algorithms apart; limit 100 a minute. */
interface Character {
  /** Of 150 at once, by one that was idle. */
  atOnce: number
  /** Of one every 10 ms in the two seconds around a full minute, by one that was idle. */
  twoSeconds: number
  /** When the last of 100 taken at once, at 30 s, counts no more. */
  allBackAtMs: number
}

const CHARACTERS: Record<Algorithm, Character> = {
  // 100, and 3.3 that flow in.
  'token-bucket': { atOnce: 100, twoSeconds: 103, allBackAtMs: 90_000 },
  // One second's worth is 1.67: one, and then one every 600 ms.
  'leaky-bucket': { atOnce: 1, twoSeconds: 4, allBackAtMs: 30_600 },
  // In the second minute as much as fades of the first: 100 × 1 s / 60 s.
  'sliding-window-counter': { atOnce: 100, twoSeconds: 101, allBackAtMs: 120_000 },
  'sliding-window-log': { atOnce: 100, twoSeconds: 100, allBackAtMs: 90_000 },
  // The flaw.
  'fixed-window': { atOnce: 100, twoSeconds: 200, allBackAtMs: 60_000 },
}

export function limitsContract(kind: () => LimitsKind): void {
  for (const algorithm of ALGORITHMS) {
    const story = (settings = requests(algorithm, 100)) => new Story(kind(), settings)
    testRates(algorithm, story)
    testRefusals(algorithm, story)
    testSettlements(algorithm, story)
    testClocks(algorithm, story)
    testChanges(algorithm, story)
  }
  testConcurrency(kind)
}

type Tell = (settings?: Story['settings']) => Story

function testRates(algorithm: Algorithm, tell: Tell): void {
  const character = CHARACTERS[algorithm]

  test(`${algorithm}: ${character.atOnce} of 150 at once pass at 100 a minute`, async () => {
    const story = tell()
    await story.at(1_000)
    assert.equal(await story.pass(150), character.atOnce)
  })

  test(`${algorithm}: ${character.twoSeconds} pass within two seconds around a full minute at 100 a minute`, async () => {
    const story = tell()
    let passed = 0
    for (let ms = 59_000; ms < 61_000; ms += 10) {
      await story.at(ms)
      passed += await story.pass(1)
    }
    assert.equal(passed, character.twoSeconds)
  })

  test(`${algorithm}: a burst is all back ${character.allBackAtMs - 30_000} ms later, as the levels say`, async () => {
    const story = tell()
    await story.at(30_000)
    await story.pass(100)
    const { levels } = await story.take(0)
    assert.equal(levels.requests!.resetMs, character.allBackAtMs - 30_000)
    await story.at(character.allBackAtMs)
    assert.equal(await story.pass(150), character.atOnce)
  })

  test(`${algorithm}: what is left is what passes at once`, async () => {
    const story = tell()
    await story.at(7_000)
    let { levels } = await story.allowed()
    while (levels.requests!.remaining > 0) ({ levels } = await story.allowed())
    assert.equal((await story.refused()).over, 'requests')
  })
}

function testRefusals(algorithm: Algorithm, tell: Tell): void {
  test(`${algorithm}: who comes back when told to passes, and a millisecond earlier does not`, async () => {
    for (const [limit, amount] of [
      [1_000, 300],
      [1_000, 1_000],
      [7, 3],
    ] as const) {
      const story = tell(tokens(algorithm, limit))
      await story.at(12_345)
      while ((await story.take(amount)).kind === 'allowed');
      const { over, retryAfterMs } = await story.refused(amount)
      assert.equal(over, 'tokens')
      assert.ok(retryAfterMs > 0 && retryAfterMs <= 120_000)
      await story.at(12_345 + retryAfterMs - 1)
      assert.equal((await story.refused(amount)).retryAfterMs, 1)
      await story.at(12_345 + retryAfterMs)
      await story.allowed(amount)
    }
  })

  test(`${algorithm}: a refused call takes nothing, of no limit`, async () => {
    const limits = { algorithm, requestsPerMinute: 6_000, tokensPerMinute: 1_200 }
    const [calm, stormy] = [tell(limits), tell(limits)]
    for (const story of [calm, stormy]) {
      await story.at(5_000)
      await story.allowed(1_200)
    }
    // Requests are not short, so a refused call must not take one either.
    const { over, levels } = await stormy.refused(1_200)
    assert.equal(over, 'tokens')
    for (let i = 0; i < 500; i++) await stormy.refused(1_200)
    const after = await stormy.refused(1_200)
    assert.deepEqual(after.levels, levels)
    assert.deepEqual(await calm.refused(1_200), await stormy.refused(1_200))
  })

  test(`${algorithm}: what exceeds the limit itself never fits; what takes no tokens asks for none`, async () => {
    const story = tell(tokens(algorithm, 1_000))
    assert.deepEqual(await story.refused(1_001).then(({ over, retryAfterMs }) => [over, retryAfterMs]), [
      'tokens',
      Infinity,
    ])
    await story.allowed(1_000)
    await story.allowed(0)
  })
}

function testSettlements(algorithm: Algorithm, tell: Tell): void {
  test(`${algorithm}: what a call did not use is there again at its end`, async () => {
    const story = tell(tokens(algorithm, 60_000))
    await story.at(1_000)
    const { end } = await story.allowed(60_000)
    const before = await story.refused(10_000)
    await story.at(1_100)
    end(500)
    const after = await story.take(0)
    // 0.1 s flowed in or out besides: 100.
    const used: Record<Algorithm, number> = {
      'token-bucket': 400,
      'leaky-bucket': 400,
      'sliding-window-counter': 500,
      'sliding-window-log': 500,
      'fixed-window': 500,
    }
    const capacity = algorithm === 'leaky-bucket' ? 1_000 : 60_000
    assert.equal(after.levels.tokens!.remaining, capacity - used[algorithm])
    assert.ok(before.levels.tokens!.remaining === 0)
  })

  test(`${algorithm}: what is given back late is not added to what has come back by itself`, async () => {
    const story = tell(tokens(algorithm, 60_000))
    await story.at(1_000)
    const { end } = await story.allowed(60_000)
    await story.at(200_000)
    const { levels } = await story.allowed(1)
    end(0)
    assert.ok((await story.take(0)).levels.tokens!.remaining <= levels.tokens!.remaining + 1)
    const most = algorithm === 'leaky-bucket' ? 1_000 : 60_000
    assert.ok((await story.take(0)).levels.tokens!.remaining <= most)
  })

  test(`${algorithm}: what a call used beyond its reservation is taken when it is known`, async () => {
    const story = tell(tokens(algorithm, 60_000))
    await story.at(1_000)
    const { end } = await story.allowed(10)
    end(60_010.2)
    // Part of a token is one.
    const { over, retryAfterMs } = await story.refused(1)
    assert.equal(over, 'tokens')
    assert.ok(retryAfterMs > 0)
    await story.at(1_000 + retryAfterMs)
    await story.allowed(1)
  })

  test(`${algorithm}: figures that are none leave no debt for years`, async () => {
    for (const figure of [1e300, Infinity, Number.NaN, -1e300]) {
      const story = tell(tokens(algorithm, 1_000))
      const { end } = await story.allowed(1)
      end(figure)
      await story.take(1)
      await story.at(12 * 60_000)
      await story.allowed(1)
    }
  })
}

function testClocks(algorithm: Algorithm, tell: Tell): void {
  test(`${algorithm}: a clock that steps back, a little or for good, gives nothing and takes a minute at most`, async () => {
    for (const backMs of [1_500, 4_000, 3_600_000]) {
      const story = tell()
      await story.at(130_000)
      await story.pass(150)
      story.clock.stepBack(backMs)
      const { retryAfterMs } = await story.refused()
      assert.ok(retryAfterMs <= 60_000, `${retryAfterMs} ms`)
      // All of it, and the time that stands still.
      await story.at(130_000 + 120_000 + 2_000)
      assert.equal(await story.pass(150), CHARACTERS[algorithm].atOnce)
    }
  })
}

function testChanges(algorithm: Algorithm, tell: Tell): void {
  test(`${algorithm}: another limit holds at once, and what was used stays used`, async () => {
    const story = tell(tokens(algorithm, 60_000))
    await story.at(10_000)
    await story.allowed(30_000)
    await story.at(30_000 + 10_000)
    story.settings = tokens(algorithm, 600)
    const { levels } = await story.take(0)
    assert.ok(levels.tokens!.remaining <= 600)
    assert.equal((await story.refused(601)).retryAfterMs, Infinity)
    story.settings = tokens(algorithm, 600_000)
    assert.ok((await story.take(0)).levels.tokens!.remaining <= 600_000 - 300)
    story.settings = { algorithm }
    for (let i = 0; i < 3; i++) await story.allowed(1e9)
  })
}

function testConcurrency(kind: () => LimitsKind): void {
  const settings = { algorithm: 'token-bucket', requestsPerMinute: 1_000, concurrent: 3 } as const

  test('so many calls in flight and no more; one that ends makes room, and a refused one takes no request', async () => {
    const story = new Story(kind(), settings)
    const calls = [await story.allowed(), await story.allowed(), await story.allowed()]
    assert.deepEqual(
      calls.map(call => call.levels.concurrent!.remaining),
      [2, 1, 0],
    )
    const { over, retryAfterMs, levels } = await story.refused()
    assert.deepEqual([over, retryAfterMs, levels.requests!.remaining], ['concurrent', 1_000, 997])
    calls[1]!.end(0)
    await story.allowed()
    await story.refused()
  })

  test('calls that run for long keep their places', async () => {
    const story = new Story(kind(), settings)
    const calls = [await story.allowed(), await story.allowed(), await story.allowed()]
    for (let s = 5; s <= 200; s += 5) {
      await story.at(s * 1_000)
      await story.refused()
    }
    for (const { end } of calls) end(0)
    assert.equal(await story.pass(5), 3)
  })

  test('what takes longest to fit is what a refusal names', async () => {
    const story = new Story(kind(), { algorithm: 'fixed-window', requestsPerMinute: 1, concurrent: 1 })
    await story.allowed()
    assert.equal((await story.refused()).over, 'requests')
    await story.at(59_500)
    const { over, retryAfterMs } = await story.refused()
    assert.deepEqual([over, retryAfterMs], ['concurrent', 1_000])
  })
}
