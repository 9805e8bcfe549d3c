// The queries of everything that watches Sluice: the dashboard, the alert rules, the documentation.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

export interface Rule {
  alert?: string
  record?: string
  expr: string
  for?: string
  labels?: { severity: string }
  annotations?: { summary: string; description: string }
}

export interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: { expr: string; legendFormat: string; datasource: { uid: string } }[]
}

export interface Dashboard {
  uid: string
  schemaVersion: number
  templating: { list: { name: string; type: string; query: string | { query: string } }[] }
  annotations: { list: { name: string; expr: string }[] }
  panels: Panel[]
}

export const dashboard: Dashboard = JSON.parse(read('monitoring/grafana/dashboards/sluice.json'))
export const rules: Rule[] = parse(read('monitoring/alerts.yml')).groups.flatMap(
  ({ rules }: { rules: Rule[] }) => rules,
)
export const recorded = rules.flatMap(({ record }) => record ?? [])

export interface Query {
  where: string
  expr: string
}

export const dashboardQueries: Query[] = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
  ...dashboard.annotations.list.map(({ name, expr }) => ({ where: name, expr })),
]

export const documentedQueries: Query[] = [...read('docs/metrics.md').matchAll(/```promql\n([\s\S]*?)```/g)].map(
  ([, expr]) => ({ where: 'docs/metrics.md', expr: expr! }),
)
