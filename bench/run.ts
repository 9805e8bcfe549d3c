// npm run bench: direct, NGINX, an AWS SDK forwarder, Sluice in memory and Sluice on Redis, side by side in one run on loopback. Rounds are interleaved,
// so that a machine whose speed drifts is unfair to none, and medians are printed. `--seconds N`, `--rounds N`.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Figures, loadFreshH2c, loadHttp1, loadStreams } from './load.ts'
import {
  nginx,
  pinned,
  startLedgerRedis,
  startNginx,
  startSdkForwarder,
  startSluice,
  startUpstream,
  type Target,
} from './targets.ts'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '4' }, rounds: { type: 'string', default: '3' } },
})
const SECONDS = Number(values.seconds)
const ROUNDS = Number(values.rounds)

interface Scenario {
  name: string
  run: (target: Target) => Promise<Figures>
}

const SCENARIOS: Scenario[] = [
  ...[1, 16, 64].map(connections => ({
    name: `Converse, ${connections} keep-alive`,
    run: (target: Target) => loadHttp1(target.http1, connections, SECONDS, 1),
  })),
  { name: 'Converse, fresh h2c each, 16 at once', run: target => loadFreshH2c(target.h2c, 16, SECONDS) },
  { name: 'ConverseStream first byte, 16', run: target => loadStreams(target.http1, 16, SECONDS) },
]

interface Row extends Figures {
  scenario: string
  target: string
  /** CPU microseconds of the proxy's process per request. */
  cpuMicros: number
}

async function measure(scenario: Scenario, target: Target): Promise<Row> {
  const before = target.cpuSeconds()
  const figures = await scenario.run(target)
  // The warm-up is in the CPU time but not in the requests: scale by the time that counted.
  const cpu = (target.cpuSeconds() - before) * (SECONDS / (SECONDS + 1))
  return { scenario: scenario.name, target: target.name, ...figures, cpuMicros: (cpu / figures.requests) * 1e6 }
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

function summary(rows: Row[]): Row {
  const of = (pick: (row: Row) => number) => median(rows.map(pick))
  return {
    ...rows[0]!,
    requestsPerSecond: of(row => row.requestsPerSecond),
    p50Ms: of(row => row.p50Ms),
    p99Ms: of(row => row.p99Ms),
    cpuMicros: of(row => row.cpuMicros),
    requests: rows.reduce((sum, row) => sum + row.requests, 0),
    errors: rows.reduce((sum, row) => sum + row.errors, 0),
  }
}

function table(rows: Row[]): string {
  const lines = [
    '| scenario | through | requests/s | p50 ms | p99 ms | proxy CPU µs/request | errors |',
    '|---|---|---|---|---|---|---|',
  ]
  for (const row of rows) {
    const cells = [
      row.scenario,
      row.target,
      row.requestsPerSecond.toFixed(0),
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      row.target === 'direct' ? '' : row.cpuMicros.toFixed(0),
      String(row.errors),
    ]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

function ratios(rows: Row[]): string {
  const lines = [
    '| scenario | Sluice ÷ NGINX | Sluice ÷ AWS SDK forwarder | added p50 ms | added p99 ms | on Redis ÷ in memory | on Redis: added p50 ms | p99 ms |',
    '|---|---|---|---|---|---|---|---|',
  ]
  for (const { name } of SCENARIOS) {
    const of = (target: string) => rows.find(row => row.scenario === name && row.target === target)
    const sluice = of('Sluice')!
    const direct = of('direct')!
    const over = (other: Row | undefined) =>
      other ? (sluice.requestsPerSecond / other.requestsPerSecond).toFixed(2) : 'absent'
    const added = (row: Row) => [row.p50Ms - direct.p50Ms, row.p99Ms - direct.p99Ms].map(ms => ms.toFixed(2))
    const shared = of('Sluice on Redis')!
    const onRedis = (shared.requestsPerSecond / sluice.requestsPerSecond).toFixed(2)
    const cells = [name, over(of('NGINX')), over(of('AWS SDK forwarder')), ...added(sluice), onRedis, ...added(shared)]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

async function main(): Promise<void> {
  const upstream = await startUpstream()
  const redis = await startLedgerRedis()
  const proxies = [
    await startNginx(upstream),
    await startSdkForwarder(upstream.http1),
    await startSluice(upstream.http1),
    await startSluice(upstream.http1, redis.url),
  ]
  const targets = [upstream, ...proxies.filter(target => target !== undefined)]
  if (!nginx) console.log('NGINX is not installed: its rows are left out.')
  if (pinned) spawnSync('taskset', ['-cp', '1', String(process.pid)])
  const rows: Row[] = []
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const scenario of SCENARIOS) for (const target of targets) rows.push(await measure(scenario, target))
    }
  } finally {
    for (const target of targets.toReversed()) await target.stop()
    await redis.stop()
  }
  const summaries = SCENARIOS.flatMap(({ name }) =>
    targets.map(target => summary(rows.filter(row => row.scenario === name && row.target === target.name))),
  )
  const machine = {
    cpu: os.cpus()[0]!.model,
    cores: os.cpus().length,
    node: process.version,
    nginx: nginx ?? 'absent',
    pinned: pinned ? 'proxy on core 0, load and upstream on core 1' : 'no',
    seconds: SECONDS,
    rounds: ROUNDS,
  }
  console.log(
    Object.entries(machine)
      .map(([key, value]) => `${key}: ${value}`)
      .join(', '),
  )
  console.log(`\n${table(summaries)}\n\n${ratios(summaries)}`)
  const file = fileURLToPath(new URL('results.json', import.meta.url))
  writeFileSync(file, `${JSON.stringify({ machine, summaries, rounds: rows }, null, 2)}\n`)
}

await main()
