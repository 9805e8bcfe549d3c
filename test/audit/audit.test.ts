// The audit fails when it must: made-up trees with a bad licence, none, a script; made-up reports of npm's.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { dependencyFaults } from './dependencies.ts'
import { readAudit } from './vulnerabilities.ts'

interface Made {
  locked?: Record<string, object>
  installed?: Record<string, object>
  allowScripts?: Record<string, boolean>
}

function tree(t: TestContext, { locked = {}, installed = {}, allowScripts = {} }: Made): string[] {
  const root = mkdtempSync(join(tmpdir(), 'sluice-audit-'))
  t.after(() => rmSync(root, { recursive: true }))
  const packages = Object.fromEntries(
    Object.entries(locked).map(([path, one]) => [`node_modules/${path}`, { version: '1.2.3', ...one }]),
  )
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages: { '': { license: 'none' }, ...packages } }))
  writeFileSync(join(root, 'package.json'), JSON.stringify({ allowScripts }))
  for (const [path, manifest] of Object.entries(installed)) {
    mkdirSync(join(root, 'node_modules', path), { recursive: true })
    writeFileSync(join(root, 'node_modules', path, 'package.json'), JSON.stringify(manifest))
  }
  return dependencyFaults(root)
}

test("Sluice's own dependencies have no fault", () => {
  assert.deepEqual(dependencyFaults(fileURLToPath(new URL('../..', import.meta.url))), [])
})

for (const licence of ['MIT', '(MIT OR GPL-3.0)', 'Apache-2.0 AND MIT', '(BSD-3-Clause)'])
  test(`${licence} may be shipped`, t => assert.deepEqual(tree(t, { locked: { a: { license: licence } } }), []))

for (const licence of [
  'GPL-3.0',
  'AGPL-3.0-only',
  'MIT AND GPL-2.0',
  'UNLICENSED',
  'SEE LICENSE IN x',
  'mit',
  '(A OR (B AND MIT))',
])
  test(`${licence} may not, and is told with the package and the remedy`, t => {
    const [fault, ...more] = tree(t, { locked: { '@x/a': { license: licence } } })
    assert.deepEqual(more, [])
    assert.ok(fault!.startsWith(`@x/a@1.2.3 is under ${licence}: replace it, or allow`), fault)
  })

test('a package without a licence is a fault', t => {
  assert.match(tree(t, { locked: { a: {} } })[0]!, /^a@1\.2\.3 names no licence/)
})

test('what is installed counts, not what the lockfile says of it; old manifests are read too', t => {
  const locked = { a: { license: 'MIT' }, b: { license: 'MIT' }, c: { license: 'GPL-3.0' } }
  const installed = {
    a: { license: 'GPL-3.0' },
    b: { licenses: [{ type: 'MIT' }, { type: 'GPL-2.0' }] },
    c: { license: { type: 'MIT' } },
  }
  const faults = tree(t, { locked, installed })
  assert.deepEqual(
    faults.map(fault => fault.split(': ')[0]),
    ['a@1.2.3 is under GPL-3.0', 'b@1.2.3 is under MIT AND GPL-2.0'],
  )
})

test('what is only used to build and test may have any licence', t => {
  assert.deepEqual(tree(t, { locked: { a: { license: 'GPL-3.0', dev: true } } }), [])
})

test('an install script runs only when package.json allows it by name, in development too', t => {
  const script = { license: 'MIT', hasInstallScript: true }
  const locked = { a: script, 'b/node_modules/@x/c': { ...script, dev: true }, d: script }
  const faults = tree(t, { locked, allowScripts: { a: true, d: false } })
  assert.deepEqual(
    faults.map(fault => fault.split(' ')[0]),
    ['@x/c@1.2.3', 'd@1.2.3'],
  )
})

const report = (vulnerabilities: object) => JSON.stringify({ vulnerabilities, metadata: {} })

test('high and critical vulnerabilities are faults, lesser ones are told', () => {
  const found = {
    a: { severity: 'critical', range: '<2' },
    b: { severity: 'high', fixAvailable: true },
    c: { severity: 'moderate' },
    d: { severity: 'low' },
  }
  const verdict = readAudit(report(found))
  assert.ok(verdict.kind === 'checked')
  assert.deepEqual(
    verdict.faults.map(line => line[0]),
    ['a', 'b'],
  )
  assert.deepEqual(
    verdict.notes.map(line => line[0]),
    ['c', 'd'],
  )
  assert.deepEqual(readAudit(report({})), { kind: 'checked', faults: [], notes: [] })
})

test('a registry that cannot say, or says nothing, is "not checked", never "no vulnerabilities"', () => {
  for (const output of [
    '',
    'not json',
    '{}',
    '{"message":"405 Method Not Allowed"}',
    '{"error":{"summary":"offline"}}',
    'null',
  ])
    assert.equal(readAudit(output).kind, 'not-checked', output)
})
