// What a scrape says of the invocations that ended, as Prometheus reads it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finished } from '../../src/gateway/ports.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'

function finished(part: Partial<Finished>): Finished {
  return {
    id: 'id',
    operation: 'Converse',
    model: 'm',
    pool: 'p',
    flow: { priority: 'normal', client: 'open', user: 'u' },
    outcome: 'answered',
    status: 200,
    refusal: undefined,
    waitMs: 0,
    firstByteMs: 20,
    totalMs: 30,
    attempts: 1,
    throttledBy: [],
    reservedTokens: 10,
    chargedTokens: 5,
    usage: undefined,
    exception: undefined,
    retries: 0,
    fallback: undefined,
    coalesced: false,
    ...part,
  }
}

async function scraped(runs: Partial<Finished>[]): Promise<string[]> {
  const metrics = new Metrics(
    async () => [],
    () => 0,
    false,
  )
  for (const run of runs.slice(0, -1)) metrics.finished(finished(run))
  await metrics.scrape()
  metrics.finished(finished(runs.at(-1)!))
  return (await metrics.scrape()).text.split('\n')
}

test('buckets are cumulative, a bound holds its own value, and what no bound holds is in +Inf and the count', async () => {
  const lines = await scraped([{ totalMs: 5 }, { totalMs: 5.1 }, { totalMs: 300_000 }, { totalMs: 300_001 }])
  const duration = lines.filter(line => line.startsWith('sluice_duration_seconds'))
  const labels = 'model="m",operation="Converse"'
  assert.equal(duration.length, 21)
  assert.deepEqual(
    duration.filter(line => /le="(0\.005|0\.01|120|300|\+Inf)"|_count/.test(line)),
    [
      `sluice_duration_seconds_bucket{le="0.005",${labels}} 1`,
      `sluice_duration_seconds_bucket{le="0.01",${labels}} 2`,
      `sluice_duration_seconds_bucket{le="120",${labels}} 2`,
      `sluice_duration_seconds_bucket{le="300",${labels}} 3`,
      `sluice_duration_seconds_bucket{le="+Inf",${labels}} 4`,
      `sluice_duration_seconds_count{${labels}} 4`,
    ],
  )
  const sum = duration.find(line => line.includes('_sum'))!
  assert.ok(Math.abs(Number(sum.split(' ')[1]) - 600.0111) < 1e-6, sum)
})

test('each set of labels has buckets of its own; what never happened has none', async () => {
  const lines = await scraped([
    { model: 'a"\\\nb' },
    { flow: { priority: 'high', client: 'open', user: 'u' } },
    { attempts: 0, pool: undefined, outcome: 'aborted', firstByteMs: undefined },
  ])
  const counts = (name: string) => lines.filter(line => line.startsWith(`${name}_count`))
  assert.deepEqual(counts('sluice_wait_seconds'), [
    'sluice_wait_seconds_count{model="a\\"\\\\\\nb",priority="normal"} 1',
    'sluice_wait_seconds_count{model="m",priority="high"} 1',
  ])
  assert.deepEqual(counts('sluice_first_byte_seconds'), [
    'sluice_first_byte_seconds_count{model="a\\"\\\\\\nb",pool="p"} 1',
    'sluice_first_byte_seconds_count{model="m",pool="p"} 1',
  ])
  assert.equal(counts('sluice_duration_seconds').length, 2)
})
