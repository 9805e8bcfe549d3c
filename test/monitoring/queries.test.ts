// What watches Sluice asks for metrics, labels and values that there are: a dashboard that shows nothing, or an alert that
// cannot fire, says that all is well.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { parse } from 'yaml'
import { type Family, familiesOf, fullMetrics } from '../support/fullScrape.ts'
import {
  dashboard,
  dashboardQueries,
  documentedQueries,
  type Query,
  ROOT,
  recorded,
  rules,
} from '../support/monitoring.ts'
import { queryFaults, readQuery } from '../support/promql.ts'

let families: Map<string, Family>
before(async () => {
  families = familiesOf((await fullMetrics().scrape()).text)
})

const faultsOf = (queries: Query[]) =>
  queries.flatMap(({ where, expr }) => queryFaults(expr, families, recorded).map(fault => `${where}: ${fault}`))

test('every query of the dashboard names metrics, labels and values that there are', () => {
  assert.ok(dashboardQueries.length > 50)
  assert.deepEqual(faultsOf(dashboardQueries), [])
})

test('so does every alert and recording rule', () => {
  assert.ok(rules.length > 20)
  assert.deepEqual(faultsOf(rules.map(({ alert, record, expr }) => ({ where: alert ?? record!, expr }))), [])
})

test('so does every query of docs/metrics.md', () => {
  assert.ok(documentedQueries.length > 10)
  assert.deepEqual(faultsOf(documentedQueries), [])
})

test('what there is not, is found out', () => {
  const cases: [string, string[]][] = [
    ['rate(sluice_made_up_total[5m])', ['sluice_made_up_total: no such metric']],
    ['sum by (model) (rate(sluice_requests[5m]))', ['sluice_requests: no such metric', 'nothing has a label model']],
    ['sluice_wait_seconds', ['sluice_wait_seconds: no such metric']],
    ['sluice_in_flight_bucket', ['sluice_in_flight_bucket: no such metric']],
    ['up == 1 and sluice_waiting{pool="p"} > 1', ['sluice_waiting: has no label pool']],
    ['sum by (client, le) (sluice_waiting)', ['nothing has a label client', 'nothing has a label le']],
    ['sluice_refusals_total{code=~"wait-.+|queue-ful"}', ['sluice_refusals_total: code is never queue-ful']],
    [
      'sluice_requests_total{status=~"429|6..",outcome!="done"}',
      ['sluice_requests_total: status is never 6..', 'sluice_requests_total: outcome is never done'],
    ],
    ['a:b:c + sluice_class_share', ['a:b:c: no such metric']],
    ['vector(0)', ['vector(0): names no metric']],
    ['histogram_quantile(0.5, sum by (le) (rate(sluice_wait_seconds_bucket{model=~"$model"}[1m] offset 1e3s)))', []],
  ]
  for (const [query, faults] of cases) assert.deepEqual(queryFaults(query, families), faults, query)
})

test('every metric of ours is on the dashboard', () => {
  const shown = new Set(dashboardQueries.flatMap(({ expr }) => readQuery(expr).selectors.map(({ metric }) => metric)))
  const missing = [...families.values()]
    .filter(({ name }) => name.startsWith('sluice_'))
    .filter(({ name, type }) => !shown.has(type === 'histogram' ? `${name}_bucket` : name))
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  )
})

test('the dashboard can be imported: one id a panel, none on another, every source and variable its own', () => {
  const { panels, templating } = dashboard
  const variables = templating.list.map(({ name }) => name)
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  assert.deepEqual(variables, ['datasource', 'model', 'pool', 'client', 'instance'])
  const overlapping = panels.flatMap((a, i) =>
    panels.slice(i + 1).flatMap(b => (overlap(a.gridPos, b.gridPos) ? [`${a.title} and ${b.title}`] : [])),
  )
  assert.deepEqual(overlapping, [])
  const used = JSON.stringify(panels).matchAll(/\$\{?(\w+)/g)
  const unknown = [...used].map(([, name]) => name!).filter(name => !['__rate_interval', ...variables].includes(name))
  assert.deepEqual(unknown, [])
  const { uid, ...parts } = dashboard
  assert.equal(uid, 'sluice')
  const sources = [...JSON.stringify(parts).matchAll(/"uid":"([^"]*)"/g)].map(([, source]) => source)
  assert.deepEqual([...new Set(sources)], ['$' + '{datasource}'])
  const lookups = templating.list
    .filter(({ type }) => type === 'query')
    .map(({ query }) => (query as { query: string }).query)
  for (const lookup of lookups) {
    const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(lookup)!
    assert.deepEqual(queryFaults(`sum by (${label}) (${selector})`, families), [], lookup)
  }
})

function overlap(a: (typeof dashboard.panels)[number]['gridPos'], b: typeof a): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

test('every alert says how much it matters, what is wrong and what to do', () => {
  const bare = rules
    .filter(({ alert }) => alert !== undefined)
    .filter(({ labels, annotations }) => {
      const { summary = '', description = '' } = annotations ?? {}
      return (
        !['critical', 'warning', 'info'].includes(labels?.severity ?? '') ||
        summary.length < 20 ||
        description.length < 60
      )
    })
  assert.deepEqual(
    bare.map(({ alert }) => alert),
    [],
  )
})

test('every alert is seen to fire in test/monitoring/alerts.test.yml', () => {
  const text = readFileSync(join(ROOT, 'test/monitoring/alerts.test.yml'), 'utf8')
  const unseen = rules.flatMap(({ alert }) => (alert && !text.includes(`alertname="${alert}`) ? [alert] : []))
  assert.deepEqual(unseen, [])
})

test('Grafana finds the dashboard and its data where the provisioning says', () => {
  const provisioned = (file: string) => parse(readFileSync(join(ROOT, 'monitoring/grafana/provisioning', file), 'utf8'))
  const [source] = provisioned('datasources/prometheus.yaml').datasources
  assert.equal(source.type, 'prometheus')
  const { global } = parse(readFileSync(join(ROOT, 'monitoring/prometheus.yml'), 'utf8'))
  assert.equal(source.jsonData.timeInterval, global.scrape_interval, 'as often as Prometheus scrapes')
  const [provider] = provisioned('dashboards/sluice.yaml').providers
  assert.equal(provider.options.path, '/var/lib/grafana/dashboards')
  assert.ok(existsSync(join(ROOT, 'monitoring/grafana/dashboards/sluice.json')))
})

test('Prometheus keeps the exemplars that the dashboard asks for', () => {
  assert.match(JSON.stringify(dashboard.panels), /"exemplar":true/)
  const { services } = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true })
  assert.ok(services.prometheus.command.includes('--enable-feature=exemplar-storage'))
})
