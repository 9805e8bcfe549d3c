// Quotas in virtual time: what each window lets through, what is settled, and to whom a quota belongs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { SimulatedQuota, WindowKind } from '../../src/simulator/settings.ts'
import { newWindow } from '../../src/simulator/windows.ts'
import { TOO_MANY_REQUESTS, TOO_MANY_TOKENS } from '../../src/wire/exceptions.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { type Driven, dig, drive, json, type Seen, userSays } from './drive.ts'

const WINDOWS: WindowKind[] = ['token-bucket', 'fixed', 'sliding']
const MODEL = '/model/amazon.nova-micro-v1%3A0/converse'
const MINUTE_MS = 60_000

function quota(more: Partial<SimulatedQuota>): SimulatedQuota {
  return { modelIds: ['*'], outputBurndown: 1, maxOutputTokens: 100, ...more }
}

/** One input token; an answer of exactly `maxTokens`. */
function say(driven: Driven, maxTokens: number, more = {}): Seen {
  return driven.send(MODEL, { messages: userSays('Hey'), inferenceConfig: { maxTokens } }, more)
}

function statuses(driven: Driven, count: number, maxTokens = 1): number[] {
  return Array.from({ length: count }, () => say(driven, maxTokens).status)
}

for (const window of WINDOWS) {
  test(`${window}: requests past the quota of a minute are throttled with Bedrock's words`, () => {
    const driven = drive({ window, quotas: [quota({ requestsPerMinute: 3 })] })
    assert.deepEqual(statuses(driven, 3), [200, 200, 200])
    const seen = say(driven, 1)
    assert.equal(seen.status, 429)
    assert.equal(dig(json(seen), 'message'), TOO_MANY_REQUESTS)
    assert.equal(
      seen.headers['x-amzn-errortype'],
      'ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/',
    )
    assert.equal(seen.headers['retry-after'], undefined)
  })

  test(`${window}: tokens past the quota of a minute are throttled with Bedrock's words`, () => {
    const driven = drive({ window, answerTokens: 1000, quotas: [quota({ tokensPerMinute: 100 })] })
    assert.equal(say(driven, 99).status, 200)
    const seen = say(driven, 1)
    assert.equal(seen.status, 429)
    assert.equal(dig(json(seen), 'message'), TOO_MANY_TOKENS)
  })

  test(`${window}: a request larger than a whole minute never fits`, async () => {
    const driven = drive({ window, quotas: [quota({ tokensPerMinute: 100 })] })
    await driven.clock.advance(10 * MINUTE_MS)
    assert.equal(say(driven, 100).status, 429)
    assert.equal(say(driven, 99).status, 200)
  })

  test(`${window}: a throttled call takes nothing`, async () => {
    const driven = drive({ window, quotas: [quota({ requestsPerMinute: 2, tokensPerMinute: 1000 })] })
    statuses(driven, 2)
    statuses(driven, 50)
    await driven.clock.advance(2 * MINUTE_MS)
    assert.deepEqual(statuses(driven, 3), [200, 200, 429])
  })

  test(`${window}: what a call reserved and did not use comes back at its end`, async () => {
    const latency = { firstTokenMs: 1000, perTokenMs: 0, jitter: 0 }
    const driven = drive({ window, latency, answerTokens: 4, quotas: [quota({ tokensPerMinute: 100 })] })
    say(driven, 90)
    assert.equal(say(driven, 90).status, 429)
    await driven.clock.advance(1000)
    const next = say(driven, 90)
    await driven.clock.advance(1000)
    assert.equal(next.status, 200)
  })

  test(`${window}: output is charged by its burndown at the end, beyond what was reserved`, () => {
    const driven = drive({ window, answerTokens: 1000, quotas: [quota({ tokensPerMinute: 100, outputBurndown: 5 })] })
    assert.equal(say(driven, 19).status, 200)
    assert.equal(say(driven, 4).status, 429, '1 + 19 × 5 = 96 of 100 are used; 5 more do not fit')
    assert.equal(say(driven, 3).status, 200)
    assert.deepEqual(driven.simulator.counts().quotas[0]!.tokensCharged, 1 + 19 * 5 + 1 + 3 * 5)
  })
}

test('token-bucket: refills evenly, and a debt is paid back first', async () => {
  const driven = drive({ answerTokens: 1000, quotas: [quota({ tokensPerMinute: 60, outputBurndown: 5 })] })
  assert.equal(say(driven, 20).status, 200, 'charged 101 of 60: 41 in debt')
  await driven.clock.advance(41_000)
  assert.equal(say(driven, 1).status, 429)
  await driven.clock.advance(2_000)
  assert.equal(say(driven, 1).status, 200)
})

test('fixed: the next minute of the clock starts anew, and an excess settled late is dropped', async () => {
  const clock = new VirtualClock(30_000)
  const latency = { firstTokenMs: 50_000, perTokenMs: 0, jitter: 0 }
  const driven = drive(
    { window: 'fixed', latency, answerTokens: 1000, quotas: [quota({ tokensPerMinute: 20, outputBurndown: 5 })] },
    clock,
  )
  say(driven, 19)
  await clock.advance(30_000)
  say(driven, 18)
  await clock.advance(20_000)
  assert.equal(driven.simulator.counts().quotas[0]!.tokensCharged, 96)
  assert.equal(say(driven, 1).status, 429, '19 of the new 20 are reserved; the 76 of excess belong to the old minute')
  await clock.runUntil(120_000)
  assert.notEqual(say(driven, 18).status, 429)
})

test('sliding: an entry counts for exactly sixty seconds', async () => {
  const driven = drive({ window: 'sliding', quotas: [quota({ requestsPerMinute: 1 })] })
  assert.equal(say(driven, 1).status, 200)
  await driven.clock.advance(59_999)
  assert.equal(say(driven, 1).status, 429)
  await driven.clock.advance(1)
  assert.equal(say(driven, 1).status, 200)
})

test('no window lets more through than its shape allows, and it leaves none unused that would fit', t => {
  const arrivals = fc.array(
    fc.record({ gapMs: fc.integer({ min: 0, max: 20_000 }), units: fc.integer({ min: 1, max: 40 }) }),
    { maxLength: 200 },
  )
  fc.assert(
    fc.property(fc.constantFrom(...WINDOWS), arrivals, (kind, list) => {
      const window = newWindow(kind)
      const taken: { atMs: number; units: number }[] = []
      const since = (fromMs: number) =>
        taken.filter(({ atMs }) => atMs >= fromMs).reduce((sum, { units }) => sum + units, 0)
      let nowMs = 0
      for (const { gapMs, units } of list) {
        nowMs += gapMs
        const fits = window.used(nowMs, 60) + units <= 60 + 1e-6
        const used = {
          fixed: since(Math.floor(nowMs / MINUTE_MS) * MINUTE_MS),
          sliding: since(nowMs - MINUTE_MS + 1),
          'token-bucket': 0,
        }[kind]
        if (kind !== 'token-bucket') assert.equal(fits, used + units <= 60)
        if (!fits) continue
        window.take(nowMs, units)
        taken.push({ atMs: nowMs, units })
        for (const { atMs } of taken)
          if (kind === 'token-bucket') assert.ok(since(atMs) <= 60 + (nowMs - atMs) / 1000 + 1e-3)
      }
    }),
    seeded(t, 100),
  )
})

test('a quota is kept apart by Region, taken from the signature, and by model', () => {
  const quotas = [quota({ modelIds: ['amazon.nova-*'], requestsPerMinute: 1 }), quota({ requestsPerMinute: 1 })]
  const driven = drive({ quotas })
  const signed = (region: string) => ({
    headers: {
      authorization: `AWS4-HMAC-SHA256 Credential=AKID/20261122/${region}/bedrock/aws4_request, SignedHeaders=host`,
    },
  })
  assert.equal(say(driven, 1, signed('us-east-1')).status, 200)
  assert.equal(
    say(driven, 1, { headers: { authorization: 'Bearer key' } }).status,
    429,
    'without a signature: us-east-1',
  )
  assert.equal(say(driven, 1, signed('eu-west-1')).status, 200)
  assert.equal(driven.send('/model/us.amazon.nova-lite-v1:0/converse', { messages: userSays('Hey') }).status, 200)
  assert.deepEqual(
    driven.simulator.counts().quotas.map(({ region, modelIds }) => `${region} ${modelIds}`),
    ['us-east-1 amazon.nova-*', 'eu-west-1 amazon.nova-*', 'us-east-1 *'],
  )
})

test('a quota with a Region binds only there; a model without a quota is unlimited', () => {
  const driven = drive({ quotas: [quota({ region: 'eu-west-1', requestsPerMinute: 0 })] })
  assert.deepEqual(new Set(statuses(driven, 100)), new Set([200]))
})

test('invented Region names cannot fill the memory', () => {
  const driven = drive({ quotas: [quota({ requestsPerMinute: 1 })] })
  for (let i = 0; i < 1000; i++)
    say(driven, 1, {
      headers: { authorization: `AWS4-HMAC-SHA256 Credential=AKID/20261122/region-${i}/bedrock/aws4_request` },
    })
  assert.ok(driven.simulator.counts().quotas.length <= 64)
})

test('a caller that leaves mid-stream pays for its prompt and for what was produced until then', async () => {
  const latency = { firstTokenMs: 1000, perTokenMs: 100, jitter: 0 }
  const driven = drive({ latency, answerTokens: 1000, quotas: [quota({ tokensPerMinute: 10_000, outputBurndown: 5 })] })
  const seen = driven.send('/model/amazon.nova-micro-v1%3A0/converse-stream', {
    messages: userSays('Hey'),
    inferenceConfig: { maxTokens: 500 },
  })
  await driven.clock.advance(11_000)
  seen.leave()
  seen.leave()
  const before = seen.body.length
  await driven.clock.advance(MINUTE_MS)
  const [counts] = driven.simulator.counts().quotas
  const producedTokens = (counts!.tokensCharged - 1) / 5
  assert.ok(producedTokens > 90 && producedTokens <= 101, `${producedTokens} tokens in 10 s at 10 a second`)
  assert.equal(seen.body.length, before, 'nothing more is sent')
  assert.equal(counts!.left, 1)
})

test('a live change of the numbers keeps what is in use; a new window starts empty', async () => {
  const driven = drive({ quotas: [quota({ requestsPerMinute: 10 })] })
  statuses(driven, 5)
  driven.simulator.apply({ quotas: [quota({ requestsPerMinute: 6 })] })
  assert.deepEqual(statuses(driven, 2), [200, 429])
  driven.simulator.apply({ window: 'sliding' })
  assert.deepEqual(statuses(driven, 7), [200, 200, 200, 200, 200, 200, 429])
})
