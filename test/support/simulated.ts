// A Sluice over the built-in simulator, and one call through it beside what Sluice wrote down about that call.
import assert from 'node:assert/strict'
import { settledTokens, type Usage } from '../../src/domain/charge.ts'
import { oneModel, startTestSluice, type TestSluice } from './sluice.ts'

/** Answers come as fast as they can be written. */
export const AT_ONCE = 'simulator: { latency: { firstTokenMs: 0, perTokenMs: 0, jitter: 0 } }'
/** That of the catch-all model in `oneModel`. */
export const BURNDOWN = 5

export const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'

/** One catch-all model on the simulator; `quotas` as in `oneModel`. */
export function startSimulated(quotas = ''): Promise<TestSluice> {
  return startTestSluice(oneModel('simulator', quotas, AT_ONCE))
}

/** A developer's own profile, keys or endpoint would be used in place of what a test sets. */
export function forgetAwsEnvironment(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
}

type Line = Record<string, unknown>

/** A call's result and the one line that Sluice logged for it. */
export async function logged<T>(sluice: TestSluice, call: () => Promise<T>): Promise<{ result: T; line: Line }> {
  const before = invocations(sluice).length
  const result = await call()
  // A client may stop reading at its protocol's last event, a moment before Sluice has seen the end.
  while (invocations(sluice).length === before) await new Promise(resolve => setImmediate(resolve))
  const lines = invocations(sluice).slice(before)
  assert.equal(lines.length, 1, 'one call of the client is one invocation')
  return { result, line: lines[0]! }
}

function invocations(sluice: TestSluice): Line[] {
  return sluice.logged().filter(one => one.msg === 'invocation')
}

/** The figures the client was told are the figures Sluice charged. Kinds that were not told are 0. */
export function assertCharged(line: Line, told: Partial<Usage> & { inputTokens: number }): void {
  const usage: Usage = { outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, ...told }
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = line
  assert.ok(usage.inputTokens > 0 && usage.inputTokens < 1000, `plausible input: ${usage.inputTokens}`)
  assert.ok(usage.outputTokens < 1000, `plausible output: ${usage.outputTokens}`)
  assert.deepEqual({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }, usage)
  assert.equal(line.chargedTokens, settledTokens(usage, BURNDOWN))
  assert.equal(line.outcome, 'answered')
  assert.equal(line.status, 200)
}
