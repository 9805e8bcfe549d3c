// What a scrape says of the invocations that ended, as Prometheus reads it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finished } from '../../src/gateway/ports.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { familiesOf, finishedRun, fullMetrics, poolStanding, roomStatusOf } from '../support/fullScrape.ts'

async function scraped(runs: Partial<Finished>[]): Promise<string[]> {
  const metrics = new Metrics(
    async () => [],
    () => 0,
    false,
  )
  for (const run of runs.slice(0, -1)) metrics.finished(finishedRun(run))
  await metrics.scrape()
  metrics.finished(finishedRun(runs.at(-1)!))
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

test('OpenMetrics has the same figures, families of counters without _total, exemplars and an end; the older format none of it', async () => {
  const metrics = fullMetrics()
  const plain = await metrics.scrape()
  const open = await metrics.scrape('application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4')
  const samples = (text: string) => text.split('\n').filter(line => line.startsWith('sluice_') && !line.includes(' # '))
  assert.equal(open.contentType, 'application/openmetrics-text; version=1.0.0; charset=utf-8')
  assert.match(open.text, /^# HELP sluice_requests Invocations ended, by outcome\.\n# TYPE sluice_requests counter$/m)
  assert.match(open.text, /\n# EOF\n$/)
  assert.doesNotMatch(open.text, /\n\n/)
  assert.match(
    open.text,
    /^sluice_duration_seconds_bucket\{le="0\.05",.*\} \d+ # \{trace_id="4bf92f3577b34da6a3ce929d0e0e4736"\} 0\.03$/m,
  )
  assert.doesNotMatch(plain.text, / # |# EOF/)
  const inPlain = new Set(samples(plain.text))
  const onlyInOpen = samples(open.text).filter(line => !inPlain.has(line))
  assert.deepEqual(onlyInOpen, [])
  assert.ok(samples(open.text).length > 200)
})

test('a bucket without a trace has no exemplar', async () => {
  const metrics = new Metrics(
    async () => [],
    () => 0,
    false,
  )
  metrics.finished(finishedRun())
  assert.doesNotMatch((await metrics.scrape('application/openmetrics-text')).text, / # \{/)
})

test('a faulty config is seen until a sound one is taken', async () => {
  const metrics = new Metrics(
    async () => [],
    () => 0,
    false,
  )
  const told = async () => {
    const { text } = await metrics.scrape()
    return [...text.matchAll(/^sluice_config_(?:last_load_successful|taken_timestamp_seconds) (.*)$/gm)].map(
      ([, n]) => n,
    )
  }
  metrics.process.configTaken(5_000)
  metrics.process.configFaulty()
  assert.deepEqual(await told(), ['0', '5'])
  metrics.process.configTaken(9_000)
  assert.deepEqual(await told(), ['1', '9'])
})

test('a throttle is seen by rates: its series is there before the first', async () => {
  const lines = await scraped([{}, {}])
  assert.ok(lines.includes('sluice_upstream_throttles_total{model="m",pool="p"} 0'))
})

test('each histogram has bounds where its times are', async () => {
  const { text } = await fullMetrics().scrape()
  const boundsOf = (name: string) => [
    ...new Set([...text.matchAll(new RegExp(`^${name}_bucket\\{le="([\\d.]+)"`, 'gm'))].map(([, le]) => Number(le))),
  ]
  const within = (name: string, from: number, to: number) =>
    boundsOf(name).filter(bound => bound >= from && bound <= to).length
  assert.ok(within('sluice_first_byte_seconds', 0.05, 10) >= 12)
  assert.ok(within('sluice_first_byte_seconds', 60, 120) >= 2)
  assert.ok(within('sluice_duration_seconds', 300, 900) >= 3)
  for (const deadline of [30, 300]) assert.equal(within('sluice_wait_seconds', deadline, deadline), 1)
  assert.ok(within('sluice_ledger_call_seconds', 0.00025, 0.005) >= 5)
  for (const [name, { type }] of familiesOf(text))
    if (type === 'histogram')
      assert.deepEqual(
        boundsOf(name),
        boundsOf(name).toSorted((a, b) => a - b),
      )
})

test('a pool or a model that a reload has removed has no gauges any more, and keeps its counts', async () => {
  const client = { client: 'a', weight: 1, waiting: 4, share: 1, weightShare: 1 }
  let models = ['kept', 'gone']
  const metrics = new Metrics(
    async () => models.map(model => roomStatusOf(model, [client])),
    () => 0,
    false,
  )
  let pools = ['p', 'q']
  metrics.pushback.watch(async () =>
    models.map(model => ({ model, leads: true, pools: pools.map(pool => poolStanding(pool)) })),
  )
  const labelled = async (label: string) => {
    const { text } = await metrics.scrape()
    const samples = text.split('\n').filter(line => line.includes(label))
    return { text, metrics: new Set(samples.map(line => line.slice(0, line.indexOf('{')))) }
  }
  metrics.outputCapped('gone', 'learned', 100)
  metrics.finished(finishedRun({ model: 'gone', pool: 'q' }))
  metrics.retried({ model: 'gone', pool: 'q', client: 'a', reservedTokens: 1, chargedTokens: 1 })
  const before = await labelled('model="gone"')
  const gauges = [...familiesOf(before.text).values()].filter(({ type }) => type === 'gauge')
  assert.ok(gauges.filter(({ labels }) => labels.has('model')).every(({ name }) => before.metrics.has(name)))
  pools = ['p']
  const withoutPool = await labelled('pool="q"')
  models = ['kept']
  const after = await labelled('model="gone"')
  const left = gauges.filter(({ name }) => withoutPool.metrics.has(name) || after.metrics.has(name))
  assert.deepEqual(
    left.map(({ name }) => name),
    [],
  )
  const counters = [...before.metrics].filter(name => name.endsWith('_total'))
  assert.ok(counters.length > 5)
  assert.deepEqual(
    counters.filter(name => !after.metrics.has(name)),
    [],
  )
})
