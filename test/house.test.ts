// What the house around Sluice says twice: nginx.conf and docker-compose.yml agree with the documents and with Sluice's own bounds.
// That they work is shown by `npm run test:containers`.
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { parseConfig } from '../src/config/load.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const nginx = read('nginx.conf')

/** The pairs of one `map`. */
function map(from: string, to: string): Map<string, string> {
  const block = nginx.split(`map ${from} ${to} {`)[1]?.split('}')[0]
  assert.ok(block, `a map of ${to}`)
  return new Map([...block.matchAll(/^\s*(\S+) (\S+);$/gm)].map(([, key, value]) => [key!, value!]))
}

/** A directive's last argument. */
function directive(name: string): string {
  const found = new RegExp(`^\\s*${name} (?:.* )?(\\S+);`, 'm').exec(nginx)
  assert.ok(found, name)
  return found[1]!
}

function ms(text: string): number {
  const [, count, unit] = /^(\d+)([sm])$/.exec(text)!
  return Number(count) * (unit === 'm' ? 60_000 : 1000)
}

test("docs/reference.md lists every refusal of NGINX's own with its statuses and exception, and no other", () => {
  const exceptions = map('$status', '$refusal_exception')
  const limits = map('$limit_conn_status', '$address_limit')
  const statusesByCode = new Map<string, string[]>()
  for (const [status, code] of map('$status', '$refusal_code')) {
    for (const one of code === '$address_limit' ? limits.values() : [code]) {
      statusesByCode.set(one, [...(statusesByCode.get(one) ?? []), status === 'default' ? '500' : status])
    }
  }
  const real = [...statusesByCode].map(([code, statuses]) => {
    const names = new Set(statuses.map(status => exceptions.get(status) ?? exceptions.get('default')))
    return [code, statuses.toSorted().join(', '), [...names].join()]
  })
  const section = read('docs/reference.md').split('\n## Refusals by NGINX\n')[1]!.split('\n## ')[0]!
  const rows = section.split('\n').filter(line => line.startsWith('| `'))
  const documented = rows.map(row =>
    row
      .split('|')
      .slice(1, 4)
      .map(cell => cell.trim().replaceAll('`', '')),
  )
  assert.deepEqual(documented.toSorted(), real.toSorted())
})

test('every error that NGINX answers itself goes through the page that gives it the shape of Bedrock', () => {
  const paged = [...nginx.matchAll(/^\s*error_page ((?:\d+ )+)(?:=(\d+) )?\/refused;$/gm)]
  const answered = paged.flatMap(([, from, to]) => (to ? [to] : from!.trim().split(' ')))
  const coded = [...map('$status', '$refusal_code').keys()].filter(status => status !== 'default')
  assert.deepEqual(new Set(answered), new Set([...coded, '500']))
})

test('the bounds of NGINX and of the containers leave room for those of Sluice', () => {
  const parsed = parseConfig(read('config/compose.yaml'), 'compose.yaml', {})
  assert.equal(parsed.kind, 'ok')
  if (parsed.kind !== 'ok') return
  const { server, upstream, admission } = parsed.config
  assert.equal(directive('client_max_body_size'), `${server.maxBodyBytes / 1024 / 1024}m`)
  const silenceMs = Math.max(...Object.values(admission.maxWaitMs)) + upstream.headersTimeoutMs
  assert.ok(ms(directive('proxy_read_timeout')) > silenceMs, 'proxy_read_timeout')
  // The first is that of the gateways' connections.
  assert.ok(ms(directive('keepalive_timeout')) < server.idleTimeoutMs, 'keepalive_timeout')
  const { services } = parse(read('docker-compose.yml'), { merge: true })
  for (const name of ['nginx', 'gateway']) {
    assert.ok(ms(services[name].stop_grace_period) > server.drainMs, `stop_grace_period of ${name}`)
  }
})

test('what lies beside the shipped configs gets into no image: of all folders only src is taken whole', () => {
  const lines = read('.dockerignore')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  const [first, ...admitted] = lines
  assert.equal(first, '*')
  const folders = admitted.filter(line => !statSync(join(ROOT, line.replace(/^!/, ''))).isFile())
  assert.deepEqual(folders, ['!src'])
})

test('git does not take up secrets where the README has them lie', () => {
  const ignored = read('.gitignore').split('\n')
  for (const line of ['.env', '/tls/', '*.pem', '*.key', '*.secret']) assert.ok(ignored.includes(line), line)
})
