// A Sluice whose models fall back, in front of a simulator that can be told to fail, and of a port where nobody listens.
import assert from 'node:assert/strict'
import { AT_ONCE } from './simulated.ts'
import { startTestSluice, type TestSluice } from './sluice.ts'

export const SONNET = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
export const HAIKU = 'anthropic.claude-haiku-4-5-20251001-v1:0'
export const GPT = 'openai.gpt-oss-120b-1:0'
export const SMALL_GPT = 'openai.gpt-oss-20b-1:0'
export const MOCK_TEXT = 'Nobody is at home; please leave a message.'

/** Big models on `endpoint`, with `fallback`; small ones on the simulator, with none. */
export function twoSizes(endpoint: string, fallback: string, rest = ''): string {
  const pool = (name: string, at: string) => `[{ name: ${name}, region: us-east-1, endpoint: "${at}" }]`
  return `models:
  - { name: sonnet, modelIds: ["*claude-sonnet*"], pools: ${pool('big', endpoint)}, fallback: ${fallback}, mockText: "${MOCK_TEXT}" }
  - { name: gpt, modelIds: ["${GPT}"], pools: ${pool('big', endpoint)}, fallback: ${fallback.replace('haiku', 'small-gpt')}, mockText: "${MOCK_TEXT}" }
  - { name: haiku, modelIds: ["${HAIKU}"], pools: ${pool('small', 'simulator')} }
  - { name: small-gpt, modelIds: ["${SMALL_GPT}"], pools: ${pool('small', 'simulator')} }
  - { name: vectors, modelIds: ["*embed*"], maxOutputTokens: 0, pools: ${pool('big', endpoint)}, fallback: ${fallback.replace('haiku', 'small-gpt')} }
${AT_ONCE}
${rest}`
}

export async function startTwoSizes(endpoint: string, fallback: string, rest = ''): Promise<TestSluice> {
  return startTestSluice(twoSizes(endpoint, fallback, rest))
}

/** Every call fails at once, or none. */
export async function setOutage(sluice: TestSluice, outage: boolean): Promise<void> {
  const body = JSON.stringify({ faults: { outage } })
  const reply = await fetch(`${sluice.simulatorUrl}/_simulator`, { method: 'POST', body })
  assert.equal(reply.status, 200)
}

/** `sluice_fallbacks_total` by its labels. */
export async function fallbackCounts(sluice: TestSluice): Promise<Record<string, number>> {
  const text = await (await fetch(`${sluice.url}/metrics`)).text()
  const found = text.matchAll(/^sluice_fallbacks_total\{(.*)\} (\d+)$/gm)
  return Object.fromEntries([...found].map(([, labels, count]) => [labels!.replaceAll('"', ''), Number(count)]))
}
