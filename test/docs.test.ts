// Documents are locked to the code, both ways. `npm run docs` rewrites what is generated.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { REFUSAL_SHAPES } from '../src/http/refusals.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { settingsTable } from './support/settingsTable.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const REFERENCE = 'docs/reference.md'
const CONFIGURATION = 'docs/configuration.md'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

/** The first cells of the rows of the table under a heading. */
function firstCells(file: string, heading: string): string[][] {
  const section = read(file).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0]
  assert.ok(section, `${file} has no section ${heading}`)
  const rows = section.split('\n').filter(line => line.startsWith('| `'))
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

test('docs/reference.md lists every metric with its type and meaning, and no other', async () => {
  const metrics = new Metrics(
    async () => [],
    () => 0,
    false,
  )
  const { text } = await metrics.scrape()
  const real = [...text.matchAll(/# HELP (\S+) (.*)\n# TYPE \S+ (\S+)/g)].map(([, name, help, type]) => [
    name,
    type,
    help,
  ])
  const documented = firstCells(REFERENCE, 'Metrics').map(([name, type, , meaning]) => [name, type, meaning])
  assert.deepEqual(documented.toSorted(), real.toSorted())
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
    'docs/limits.md',
    'docs/identity.md',
  ]
  const broken = documents.flatMap(document =>
    [...read(document).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)]
      .filter(([, target]) => !existsSync(join(ROOT, dirname(document), target!)))
      .map(([, target]) => `${document} → ${target}`),
  )
  assert.deepEqual(broken, [])
})
