// What right-sized requests are worth, in virtual time: a quota of 200,000 tokens a minute, a model that may answer 65,536,
// and requests that set no cap and are answered in a few hundred, which takes some seconds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelSettings, OutputCapSettings } from '../../src/domain/model.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { NO_FAULTS } from '../../src/simulator/settings.ts'
import { PLAIN } from '../support/models.ts'
import { virtualSluice } from './virtualSluice.ts'

const MINUTES = 10
/** Half as many again as the quota is worth. */
const ASKED_PER_MINUTE = 200
const MAX_WAIT_MS = 30_000
const QUOTA = { modelIds: ['*'], outputBurndown: 5, maxOutputTokens: 65_536, tokensPerMinute: 200_000 }
const BODY = Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: [{ text: 'Tell me about rivers.' }] }] }))
const SEED = Number(process.env.SEED ?? 20261122)

async function run(outputCap: Partial<OutputCapSettings>) {
  const model: ModelSettings = {
    name: 'm',
    ...QUOTA,
    bytesPerToken: 3.5,
    pools: [{ name: 'only', region: 'us-east-1', tokensPerMinute: QUOTA.tokensPerMinute }],
    ...PLAIN,
    outputCap: { ...PLAIN.outputCap, ...outputCap },
  }
  const dice = seededDice(SEED)
  const latency = { firstTokenMs: 800, perTokenMs: 20, jitter: 0.3 }
  const simulated = {
    seed: SEED,
    window: 'sliding',
    quotas: [QUOTA],
    latency,
    faults: NO_FAULTS,
    answerTokens: 300,
  } as const
  const sluice = virtualSluice(model, { ...simulated, quotas: [QUOTA] }, dice)
  const endMs = sluice.clock.nowMs() + MINUTES * 60_000
  let asked = 0
  const arrive = () => {
    if (sluice.clock.nowMs() >= endMs) return
    sluice.converse(`user-${asked % 20}`, BODY, MAX_WAIT_MS)
    asked += 1
    sluice.clock.after((-Math.log(1 - dice()) * 60_000) / ASKED_PER_MINUTE, arrive)
  }
  arrive()
  await sluice.clock.runUntil(endMs)
  const answered = sluice.finished.filter(one => one.status === 200)
  const { throttledByTokens, tokensCharged } = sluice.simulator.counts().quotas[0]!
  return {
    answeredPerMinute: answered.length / MINUTES,
    usedPart: tokensCharged / (QUOTA.tokensPerMinute * MINUTES),
    throttled: throttledByTokens,
    /** Answers of the simulator are at most half as long again as their mean. */
    meanOutput: answered.reduce((sum, one) => sum + one.usage!.outputTokens, 0) / answered.length,
    lastReserved: answered.at(-1)!.reservedTokens,
  }
}

test('without caps a few reservations fill the quota; with learned ones it is used, and no answer is cut short', async t => {
  const without = await run({ mode: 'off' })
  const learned = await run({ mode: 'learned' })
  const fixed = await run({ mode: 'fixed', tokens: 1000 })
  t.diagnostic(`seed ${SEED}: ${JSON.stringify({ without, learned, fixed })}`)
  assert.ok(without.usedPart < 0.2 && without.answeredPerMinute < 25)
  for (const one of [learned, fixed]) {
    assert.ok(one.usedPart > 0.9 && one.answeredPerMinute > 110)
    assert.ok(one.meanOutput > 290, 'as long as they would be')
  }
  assert.equal(fixed.throttled, 0)
  // When the first 4096 give way to the learned cap, what these had reserved comes back at once: a few are sent too soon.
  assert.ok(learned.throttled < 50)
  assert.ok(learned.lastReserved < 1000)
})
