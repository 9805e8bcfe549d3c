import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkServer } from '../../src/redis/serverCheck.ts'

const info = (fields: Record<string, string>) =>
  `# Server\r\n${Object.entries({ role: 'master', redis_mode: 'standalone', maxmemory_policy: 'noeviction', ...fields })
    .map(([key, value]) => `${key}:${value}`)
    .join('\r\n')}\r\n`

test('a server that suits gives no warning', () => {
  assert.deepEqual(checkServer(info({ redis_version: '7.0.15' }), false), { server: 'redis 7.0.15', warnings: [] })
  // Valkey pretends to be the last Redis it was compatible with.
  const valkey = info({ redis_version: '7.2.4', server_name: 'valkey', valkey_version: '8.0.1' })
  assert.deepEqual(checkServer(valkey, false), { server: 'valkey 8.0.1', warnings: [] })
  assert.deepEqual(checkServer(info({ redis_version: '10.1.0', redis_mode: 'cluster' }), true).warnings, [])
})

const CASES: [string, Record<string, string>, RegExp][] = [
  ['an old Redis', { redis_version: '6.2.14' }, /redis 6\.2\.14 is too old: use 7/],
  [
    'an old Valkey',
    { server_name: 'valkey', valkey_version: '7.2.5', redis_version: '7.2.4' },
    /valkey 7\.2\.5 is too/,
  ],
  ['no version', {}, /version of redis is unknown/],
  ['a policy that evicts', { redis_version: '7.4.0', maxmemory_policy: 'allkeys-lru' }, /allkeys-lru.*set noeviction/],
  ['a replica', { redis_version: '7.4.0', role: 'slave' }, /replica/],
  ['a cluster taken for a server', { redis_version: '7.4.0', redis_mode: 'cluster' }, /redis\+cluster:\/\//],
]
for (const [what, fields, warning] of CASES) {
  test(`${what} is warned of, and nothing else`, () => {
    const { warnings } = checkServer(info(fields), false)
    assert.equal(warnings.length, 1, warnings.join('\n'))
    assert.match(warnings[0]!, warning)
  })
}

test('an answer that was not given, or says nothing, is unknown and never a fault', () => {
  assert.equal(checkServer(undefined, false).server, 'unknown')
  assert.match(checkServer(undefined, false).warnings.join(), /unknown/)
  assert.match(checkServer('', false).warnings.join('\n'), /version.*unknown.*\n.*maxmemory-policy is unknown/)
  assert.equal(checkServer('\0garbage:\r\n:::', true).server, 'unknown')
})
