// What the house around Sluice says twice: nginx.conf and docker-compose.yml agree with the documents and with Sluice's own bounds.
// That they work is shown by `npm run test:containers`.
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { parse } from 'yaml'
import { parseConfig } from '../src/config/load.ts'
import { seeded } from './support/seeds.ts'

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
  const limits = map('$limit_conn_status$large_body', '$address_limit')
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

test('large bodies fit in the room that the containers give NGINX for them', () => {
  const { services } = parse(read('docker-compose.yml'), { merge: true })
  const roomGb = /^\/tmp:size=(\d+)g$/.exec(services.nginx.tmpfs[0])![1]
  const most = /^\s*limit_conn large_bodies (\d+);/m.exec(nginx)![1]
  const largestMb = Number.parseInt(directive('client_max_body_size'), 10)
  assert.ok(Number(most) * largestMb <= Number(roomGb) * 1024, `${most} bodies of ${largestMb} MB`)
})

test('an IPv6 address counts with its /64, however the addresses of it are spelt', t => {
  const block = nginx.split('map $remote_addr $client_network {')[1]!.split('\n  }')[0]!
  const rules = [...block.matchAll(/^\s*"~(\S+)" (\S+);$/gm)].map(([, key, value]) => ({
    key: new RegExp(key!),
    value: value!,
  }))
  assert.ok(rules.length > 3)
  const networkOf = (address: string) => {
    const rule = rules.find(({ key }) => key.test(address))
    if (!rule) return address
    const { groups } = rule.key.exec(address)!
    return rule.value.replace(/\$\{?(\w+)\}?/g, (_, name) => groups![name]!)
  }
  // Zeros are many, or no spelling would be shortened.
  const group = fc.oneof(fc.constant('0'), fc.constantFrom('1', 'db8', 'ffff'))
  const groups = fc.tuple(fc.constant('2001'), ...Array.from({ length: 7 }, () => group))
  // NGINX and the URL standard write the same: the longest run of zeros, the first of several.
  const spelt = (parts: string[]) => new URL(`http://[${parts.join(':')}]`).hostname.slice(1, -1)
  fc.assert(
    fc.property(groups, all => assert.equal(networkOf(spelt(all)), `${all.slice(0, 4).join(':')}:`)),
    seeded(t, 2000),
  )
  for (const other of ['10.1.2.3', '::1', '::ffff:10.1.2.3']) assert.equal(networkOf(other), other)
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

test('docker-compose.yml hands on every variable of docs/tracing.md, and no other of its kind', () => {
  const section = read('docs/tracing.md').split('\n## Variables\n')[1]!.split('\n## ')[0]!
  const documented = section
    .split('\n')
    .filter(line => line.startsWith('| `'))
    .flatMap(row => {
      const [, names, meaning] = row.split('|')
      const all = [...names!.matchAll(/`(\S+)`/g)].map(([, name]) => name!.replace('…', 'OTEL_EXPORTER_OTLP'))
      if (!meaning!.includes('also with `…_TRACES_…`')) return all
      return [...all, ...all.map(name => name.replace('_OTLP_', '_OTLP_TRACES_'))]
    })
  const { services } = parse(read('docker-compose.yml'), { merge: true })
  const handedOn = (services.gateway.environment as string[]).filter(name => name.startsWith('OTEL_'))
  assert.deepEqual(handedOn.toSorted(), documented.toSorted())
})
