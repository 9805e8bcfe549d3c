// Prometheus's own tool reads what we give it: a scrape, the rules, their unit tests, every query, the configuration.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { stringify } from 'yaml'
import { fullMetrics } from '../support/fullScrape.ts'
import { dashboardQueries, documentedQueries, ROOT } from '../support/monitoring.ts'
import { AT_ONCE, CLAUDE } from '../support/simulated.ts'
import { oneModel, startTestSluice } from '../support/sluice.ts'

const isThere = spawnSync('promtool', ['--version'], { timeout: 10_000 }).status === 0
const options = {
  skip: isThere
    ? false
    : 'promtool is not on the PATH: install Prometheus (Debian, Ubuntu: apt-get install prometheus)',
}
const folder = mkdtempSync(join(tmpdir(), 'sluice-promtool-'))
after(() => rmSync(folder, { recursive: true }))

function promtool(args: string[], input = ''): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8', timeout: 60_000 })
  return { status, said: `${stdout}${stderr}` }
}

function written(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function passes(args: string[], input?: string): void {
  const { status, said } = promtool(args, input)
  assert.equal(status, 0, said)
}

test('promtool finds no fault in a scrape in which every metric has every label', options, async () => {
  passes(['check', 'metrics'], (await fullMetrics().scrape()).text)
})

test('nor in what a running Sluice answers, which is OpenMetrics for who asks for it', options, async t => {
  const sluice = await startTestSluice(
    oneModel('simulator', 'requestsPerMinute: 600, tokensPerMinute: 100000', AT_ONCE),
  )
  t.after(() => sluice.stop(0))
  const body = JSON.stringify({ messages: [{ role: 'user', content: [{ text: 'Rivers, please.' }] }] })
  const answer = await fetch(`${sluice.url}/model/${CLAUDE}/converse`, { method: 'POST', body })
  assert.equal(answer.status, 200)
  await answer.text()
  const plain = await fetch(`${sluice.url}/metrics`)
  const text = await plain.text()
  assert.match(plain.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
  assert.match(text, /^sluice_build_info\{version="\d+\.\d+\.\d+"\} 1$/m)
  assert.match(text, /^sluice_client_requests_total\{model="any",client="open",outcome="answered"\} 1$/m)
  assert.match(text, /^sluice_quota_configured_per_minute\{model="any",pool="only",dimension="requests"\} 600$/m)
  passes(['check', 'metrics'], text)
  const accept = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'
  const open = await fetch(`${sluice.url}/metrics`, { headers: { accept } })
  assert.match(open.headers.get('content-type')!, /^application\/openmetrics-text; version=1\.0\.0/)
  assert.match(await open.text(), /\n# EOF\n$/)
})

test('promtool finds no fault in the alert rules, and each alert fires when it should and only then', options, () => {
  passes(['check', 'rules', join(ROOT, 'monitoring/alerts.yml')])
  passes(['test', 'rules', join(ROOT, 'test/monitoring/alerts.test.yml')])
})

test('every query of the dashboard and of the documentation is PromQL', options, () => {
  const rules = [...dashboardQueries, ...documentedQueries].map(({ expr }, i) => ({
    record: `query:${i}`,
    expr: expr.replaceAll('$__rate_interval', '5m'),
  }))
  passes(['check', 'rules', written('queries.yml', stringify({ groups: [{ name: 'queries', rules }] }))])
})

test('promtool takes monitoring/prometheus.yml, with the rules it names', options, () => {
  const file = join(ROOT, 'monitoring/prometheus.yml')
  passes(['check', 'config', file])
  const config = readFileSync(file, 'utf8')
  assert.match(config, /job_name: ['"]?sluice\b/, 'the alerts speak of the job sluice')
  assert.match(config, /alerts\.yml/)
})
