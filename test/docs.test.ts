// Documents are locked to the code, both ways. `npm run docs` rewrites what is generated.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Usage } from '../src/domain/charge.ts'
import type { Finished } from '../src/gateway/ports.ts'
import { REFUSAL_SHAPES } from '../src/http/refusals.ts'
import { createLog, logFinished } from '../src/telemetry/log.ts'
import { familiesOf, fullMetrics } from './support/fullScrape.ts'
import { rules } from './support/monitoring.ts'
import { settingsTable } from './support/settingsTable.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const REFERENCE = 'docs/reference.md'
const CONFIGURATION = 'docs/configuration.md'
const METRICS = 'docs/metrics.md'
const TRACING = 'docs/tracing.md'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

/** The first cells of the rows of the table under a heading. */
function firstCells(file: string, heading: string): string[][] {
  const section = read(file).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0]
  assert.ok(section, `${file} has no section ${heading}`)
  return rowsOf(section)
}

function rowsOf(text: string): string[][] {
  const rows = text.split('\n').filter(line => line.startsWith('| `'))
  return rows.map(row =>
    row
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim().replaceAll('`', '')),
  )
}

test('docs/configuration.md lists every setting as the schema has it', () => {
  const text = read(CONFIGURATION)
  const [before, , after] = text.split(/<!-- settings -->|<!-- end of settings -->/)
  const wanted = `${before}<!-- settings -->\n${settingsTable()}\n<!-- end of settings -->${after}`
  if (process.env.UPDATE_DOCS) writeFileSync(join(ROOT, CONFIGURATION), wanted)
  else assert.equal(text, wanted, 'run `npm run docs`')
})

test('docs/reference.md lists every refusal with its status and exception, and no other', () => {
  const documented = firstCells(REFERENCE, 'Refusals').map(cells => cells.slice(0, 3))
  const real = Object.entries(REFUSAL_SHAPES).map(([code, { status, exception }]) => [code, String(status), exception])
  assert.deepEqual(documented.toSorted(), real.toSorted())
})

test('docs/metrics.md lists every metric with its type, labels and meaning, and no other', async () => {
  const families = familiesOf((await fullMetrics().scrape()).text)
  const real = [...families.values()]
    .filter(({ name }) => name.startsWith('sluice_'))
    .map(({ name, type, labels, help }) => [name, type, [...labels.keys()].join(', '), help])
  const documented = rowsOf(read(METRICS)).filter(([name]) => name!.startsWith('sluice_'))
  assert.deepEqual(
    documented.map(([name, type, labels, , meaning]) => [name, type, labels, meaning]).toSorted(),
    real.toSorted(),
  )
  const silent = [...families.values()].filter(({ name, samples }) => name.startsWith('sluice_') && samples === 0)
  assert.deepEqual(silent, [], 'fullScrape.ts makes something of everything happen')
  const unitless = documented.filter(([name, , , unit]) => name!.includes('_seconds') !== unit!.startsWith('seconds'))
  assert.deepEqual(unitless, [])
})

test('docs/metrics.md lists every label of a metric, and no other', async () => {
  const families = familiesOf((await fullMetrics().scrape()).text)
  const ours = [...families.values()].filter(({ name }) => name.startsWith('sluice_'))
  const documented = firstCells(METRICS, 'Labels').flatMap(([names]) => names!.split(', '))
  assert.deepEqual(documented.toSorted(), [...new Set(ours.flatMap(({ labels }) => [...labels.keys()]))].toSorted())
})

test('docs/metrics.md lists every alert with its severity and patience, and no other', () => {
  const documented = firstCells(METRICS, 'Alerts').map(cells => cells.slice(0, 3))
  const real = rules.flatMap(({ alert, labels, for: lasting = 'at once' }) =>
    alert ? [[alert, labels!.severity, lasting]] : [],
  )
  assert.deepEqual(documented, real)
})

test('docs/reference.md lists every field of an invocation in the log, and no other', () => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('info', { write: line => void lines.push(JSON.parse(line)) })
  const usage: Usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 1, cacheWriteTokens: 1 }
  const refusal = { code: 'wait-timeout', message: 'Too late.' } as const
  const full: Required<Finished> = {
    id: 'own',
    operation: 'Converse',
    model: 'm',
    pool: 'p',
    flow: { priority: 'high', client: 'c', user: 'u' },
    outcome: 'answered',
    status: 400,
    refusal,
    waitMs: 1,
    firstByteMs: 1,
    totalMs: 1,
    attempts: 1,
    throttledBy: ['p'],
    reservedTokens: 1,
    chargedTokens: 1,
    usage,
    exception: 'throttlingException',
    retries: 1,
    fallback: 'mock',
    coalesced: true,
    credential: 'key-0123456789ab',
    traceId: 't',
    names: { requestId: 'bedrock', exception: 'ValidationException' },
  }
  logFinished(log, full)
  const documented = firstCells(REFERENCE, 'Log').flatMap(([names]) => names!.split(', '))
  const real = Object.keys(lines[0]!).filter(name => !['level', 'time', 'msg'].includes(name))
  assert.deepEqual(documented.toSorted(), real.toSorted())
})

test('docs/tracing.md lists every attribute that spans are given, and no other', () => {
  const named = read('src/telemetry/tracingSpans.ts').matchAll(/'((?:http|error|cloud|gen_ai|sluice)\.[a-z_.]+)'/g)
  const documented = firstCells(TRACING, 'Attributes').map(([name]) => name!)
  assert.deepEqual(documented.toSorted(), [...new Set([...named].map(match => match[1]!))].toSorted())
})

test('every file that a document links to exists', () => {
  const documents = [
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    REFERENCE,
    CONFIGURATION,
    'docs/benchmarks.md',
    'docs/clients.md',
    'docs/docker.md',
    'docs/ingress.md',
    'docs/limits.md',
    METRICS,
    TRACING,
    'docs/security.md',
    'SECURITY.md',
    'docs/identity.md',
  ]
  const broken = documents.flatMap(document =>
    [...read(document).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)]
      .filter(([, target]) => !existsSync(join(ROOT, dirname(document), target!)))
      .map(([, target]) => `${document} → ${target}`),
  )
  assert.deepEqual(broken, [])
})
