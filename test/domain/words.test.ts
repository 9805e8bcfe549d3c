import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { reservedTokens, settledTokens } from '../../src/domain/charge.ts'
import { InputEstimate } from '../../src/domain/estimate.ts'
import { globMatcher } from '../../src/domain/modelIds.ts'
import { seeded } from '../support/seeds.ts'

test("a call is charged by Bedrock's measured rule: input + cache writes + output × burndown, cache reads free", () => {
  // Measured on global Sonnet 4.6, 2026-10-09 (EstimatedTPMQuotaUsage).
  assert.equal(settledTokens({ inputTokens: 26, outputTokens: 1203, cacheReadTokens: 0, cacheWriteTokens: 0 }, 5), 6041)
  assert.equal(settledTokens({ inputTokens: 13, outputTokens: 4, cacheReadTokens: 0, cacheWriteTokens: 8814 }, 5), 8847)
  assert.equal(settledTokens({ inputTokens: 13, outputTokens: 4, cacheReadTokens: 8814, cacheWriteTokens: 0 }, 5), 33)
})

test('a reservation carries no burndown', () => {
  assert.equal(reservedTokens(26, 8000), 8026)
})

test('the estimate learns bytes per token from settled calls and converges on what it sees', () => {
  const estimate = new InputEstimate(3.5)
  assert.equal(estimate.tokens(700, 0), 200)
  for (let i = 0; i < 200; i++) estimate.learn(1_000, 0, 500)
  assert.ok(Math.abs(estimate.bytesPerToken(1_000) - 2) < 0.01)
})

test('small calls, mostly fixed overhead, do not make a large prompt look larger than it is', () => {
  const estimate = new InputEstimate(3.5)
  for (let i = 0; i < 1_000; i++) estimate.learn(400, 0, 400)
  assert.equal(estimate.tokens(7_000_000, 0), 2_000_000)
})

test('calls with media and nonsense figures teach the estimate nothing', () => {
  const estimate = new InputEstimate(3.5)
  estimate.learn(10_000, 1_500, 10)
  estimate.learn(10_000, 0, 0)
  assert.equal(estimate.bytesPerToken(10_000), 3.5)
})

test('one absurd figure cannot throw the estimate out of the possible', () => {
  const estimate = new InputEstimate(3.5)
  for (let i = 0; i < 1_000; i++) estimate.learn(1_000_000, 0, 1)
  assert.ok(estimate.bytesPerToken(1_000_000) <= 10)
})

test('a glob matches the whole modelId, and every character but * is literal', t => {
  assert.equal(globMatcher('*anthropic.claude-*')('us.anthropic.claude-v2'), true)
  assert.equal(globMatcher('anthropic.claude-*')('us.anthropic.claude-v2'), false)
  assert.equal(globMatcher('a.b')('axb'), false)
  assert.equal(globMatcher('*')('arn:aws:bedrock:us-east-1:1:application-inference-profile/abc'), true)
  fc.assert(
    fc.property(fc.string(), id => assert.equal(globMatcher(id.replaceAll('*', ''))(id.replaceAll('*', '')), true)),
    seeded(t, 100),
  )
})

test('globs agree with their meaning, and no id makes one slow', t => {
  const part = fc.constantFrom('a', 'b', '-', '*')
  const id = fc.array(fc.constantFrom('a', 'b', '-'), { maxLength: 12 }).map(parts => parts.join(''))
  fc.assert(
    fc.property(fc.array(part, { maxLength: 7 }), id, (parts, modelId) => {
      const meaning = new RegExp(`^${parts.map(one => (one === '*' ? '.*' : one)).join('')}$`)
      assert.equal(globMatcher(parts.join(''))(modelId), meaning.test(modelId))
    }),
    seeded(t, 2_000),
  )
  assert.equal(globMatcher('*a*a*a*a*a*a*a*b')('a'.repeat(2_048)), false)
})
