// A short run of the overload; `npm run overload` is the long one, and the one whose latencies mean something.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOverload } from './overload.ts'

test('twenty times the requests that may be sent: refusals all well-formed, high ones served, memory bounded, and over within 5 s', async t => {
  const figures = await runOverload({
    sendsBound: 24,
    times: 20,
    seconds: 6,
    unloadedSeconds: 2,
    requestsPerMinute: 6_000,
    firstTokenMs: 200,
  })
  t.diagnostic(JSON.stringify(figures))
  const refusedOf = (priority: string) =>
    Object.entries(figures.refused).reduce((sum, [how, count]) => sum + (how.startsWith(priority) ? count : 0), 0)
  assert.deepEqual(figures.malformed, {})
  assert.ok(refusedOf('low') > 100, 'there is an overload')
  assert.ok(figures.answered.high > 50 && refusedOf('high') <= figures.answered.high / 20, 'the others bear it')
  assert.ok(figures.recoverySeconds !== null && figures.recoverySeconds <= 5, `${figures.recoverySeconds} s`)
  assert.ok(figures.peakMb - figures.restingMb < 150, `from ${figures.restingMb} to ${figures.peakMb} MB`)
  assert.equal(figures.inFlight, 0)
  assert.deepEqual(new Set(figures.stages.map(({ depth }) => depth)), new Set([0]))
})
