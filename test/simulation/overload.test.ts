// Three times more than the quota allows, for ten minutes, under every window Bedrock might use.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelSettings } from '../../src/domain/model.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { NO_FAULTS, type SimulatorSettings, type WindowKind } from '../../src/simulator/settings.ts'
import { PLAIN } from '../support/models.ts'
import { virtualSluice } from './virtualSluice.ts'

const MINUTES = 10
const OVERLOAD = 3
const MAX_WAIT_MS = 30_000
const SEED = Number(process.env.SEED ?? 20261122)

interface Quota {
  name: string
  requestsPerMinute: number
  tokensPerMinute: number
}

/** What a call of the workload below is charged, about. */
const CHARGED_TOKENS = 620

const BINDING: Quota[] = [
  { name: 'requests', requestsPerMinute: 600, tokensPerMinute: 3_000_000 },
  { name: 'tokens', requestsPerMinute: 6_000, tokensPerMinute: 400_000 },
]
const WINDOWS: WindowKind[] = ['token-bucket', 'sliding', 'fixed']

for (const quota of BINDING) {
  for (const window of WINDOWS) {
    test(`${OVERLOAD}× overload, ${quota.name} bind, ${window} window: no throttle reaches a client and the quota is used`, async t => {
      const figures = await overload(quota, window)
      t.diagnostic(`seed ${SEED}: ${JSON.stringify(figures)}`)
      assert.ok(figures.sends > 1_000)
      assert.ok(figures.offered >= 2.5, 'the workload is no overload')
      assert.ok(figures.throttlesPer1000 <= 1, `throttles per 1000 sends: ${figures.throttlesPer1000}`)
      assert.ok(figures.used >= 0.95, `part of the quota used: ${figures.used}`)
      assert.deepEqual(figures.errorsBeforeDeadline, [])
    })
  }
}

async function overload(quota: Quota, window: WindowKind) {
  const dice = seededDice(SEED, 0, 1)
  const sluice = virtualSluice(modelOf(quota), simulatorOf(quota, window), dice)
  const endMs = sluice.clock.nowMs() + MINUTES * 60_000
  const perMinute = OVERLOAD * Math.min(quota.requestsPerMinute, quota.tokensPerMinute / CHARGED_TOKENS)
  let arrivals = 0
  const arrive = () => {
    if (sluice.clock.nowMs() >= endMs) return
    sluice.converse(`user-${arrivals % 20}`, callOf(dice), MAX_WAIT_MS)
    arrivals += 1
    sluice.clock.after((-Math.log(1 - dice()) * 60_000) / perMinute, arrive)
  }
  arrive()
  await sluice.clock.runUntil(endMs)
  const [counts] = sluice.simulator.counts().quotas
  const { sends, accepted, throttledByRequests, throttledByTokens, tokensCharged } = counts!
  const answered = sluice.finished.filter(run => run.outcome === 'answered')
  const charged = answered.reduce((sum, run) => sum + run.chargedTokens, 0) / answered.length
  const wanted = { requests: arrivals, tokens: arrivals * charged }
  const budget = { requests: quota.requestsPerMinute * MINUTES, tokens: quota.tokensPerMinute * MINUTES }
  return {
    arrivals,
    sends,
    offered: Math.max(wanted.requests / budget.requests, wanted.tokens / budget.tokens),
    throttlesPer1000: ((throttledByRequests + throttledByTokens) / sends) * 1000,
    used: Math.max(accepted / budget.requests, tokensCharged / budget.tokens),
    errorsBeforeDeadline: sluice.finished
      .filter(run => run.outcome !== 'answered' || run.status !== 200)
      .filter(run => run.refusal?.code !== 'wait-timeout' || run.totalMs < MAX_WAIT_MS)
      .map(run => `${run.outcome} ${run.status} ${run.refusal?.code} after ${run.totalMs} ms`),
  }
}

/** 20 to 600 input tokens, a cap of 50 to 250 output tokens, of which a part is used. */
function callOf(dice: () => number): Buffer {
  const text = 'word '.repeat(16 + Math.floor(dice() * 450))
  const maxTokens = 50 + Math.floor(dice() * 200)
  return Buffer.from(
    JSON.stringify({ messages: [{ role: 'user', content: [{ text }] }], inferenceConfig: { maxTokens } }),
  )
}

function modelOf(quota: Quota): ModelSettings {
  return {
    name: 'claude',
    modelIds: ['*'],
    outputBurndown: 5,
    maxOutputTokens: 4096,
    bytesPerToken: 3.5,
    pools: [{ ...quota, name: 'only', region: 'us-east-1' }],
    ...PLAIN,
  }
}

function simulatorOf(quota: Quota, window: WindowKind): SimulatorSettings {
  const { requestsPerMinute, tokensPerMinute } = quota
  return {
    seed: SEED,
    window,
    quotas: [{ modelIds: ['*'], requestsPerMinute, tokensPerMinute, outputBurndown: 5, maxOutputTokens: 4096 }],
    latency: { firstTokenMs: 300, perTokenMs: 10, jitter: 0.3 },
    faults: NO_FAULTS,
    answerTokens: 80,
  }
}
