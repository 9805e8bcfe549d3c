// A short run of the whole fleet; `npm run fleet` is the long one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FleetPlan, runFleet } from './fleet.ts'

const PLAN: FleetPlan = {
  gateways: 3,
  clients: 12,
  seconds: 12,
  warmUpSeconds: 5,
  requestsPerMinute: 1_200,
  tokensPerMinute: 3_000_000,
  window: 'sliding',
}

test('three gateways use one quota to the full, fairly, without throttles, and no client hears an error', async t => {
  const figures = await runFleet(PLAN)
  t.diagnostic(JSON.stringify(figures))
  assert.deepEqual(figures.errors, {})
  assert.ok(figures.throttlesPer1000 <= 1, `${figures.throttlesPer1000} throttles per 1000`)
  assert.ok(figures.used >= 0.9, `${figures.used} of the quota`)
  assert.ok(figures.jain >= 0.97, `Jain ${figures.jain}`)
})

test('when a gateway is killed no client of the others hears an error, and turns are lost on its line only while it lasts', async t => {
  const figures = await runFleet({ ...PLAN, seconds: 10, mishap: { kind: 'kill-gateway', afterSeconds: 2 } })
  t.diagnostic(JSON.stringify(figures))
  assert.deepEqual(figures.errors, {})
  assert.ok(figures.throttlesPer1000 <= 1, `${figures.throttlesPer1000} throttles per 1000`)
  // A third of those in line were the dead one's; until it has been silent for ten seconds their turns come and are lost.
  assert.ok(figures.used >= 0.65, `${figures.used} of the quota`)
})
