// TLS, users and passwords on real servers, and that no text ever repeats a secret.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import type { RedisLink } from '../../src/redis/connection.ts'
import { connectRedis } from '../../src/redis/connection.ts'
import { secretRemover } from '../../src/redis/fault.ts'
import { defineScript } from '../../src/redis/script.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { systemClock } from '../../src/system.ts'
import { openLink, publishedUntilHeard, SETTINGS, upLink } from '../support/redisLinks.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'

const one = defineScript('one', 'return 1')
const SECRET = 'pa:ss/w@rd%'
const USER = 'gate:way'
const folder = mkdtempSync(join(tmpdir(), 'sluice-redis-tls-'))
const file = (name: string) => join(folder, name)

let redis: TestRedis
before(async () => {
  const acl = ['--user', 'default', 'off', '--user', USER, 'on', `>${SECRET}`, '~*', '&*', '+@all']
  redis = await startRedis([...acl, '--unixsocket', file('redis.sock')])
})
after(async () => {
  await redis.stop()
  rmSync(folder, { recursive: true })
})

const as = (user: string, password: string, base = redis.url) =>
  base.replace('://', `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`)

/** All a log could ever show of a link and of what it rejects with. */
async function shown(link: RedisLink): Promise<string> {
  const fault = await link.run(one, [], []).then(String, error => inspect(error, { depth: 10, showHidden: true }))
  return [link.address, link.trouble, fault, inspect(await link.check())].join('\n')
}

test('an ACL user gets in with its password, percent-encoded or not', async () => {
  assert.equal(await (await upLink(as(USER, SECRET))).run(one, [], []), 1)
  assert.equal(await (await upLink(`redis://gate%3Away:pa:ss/w@rd%25@127.0.0.1:${redis.port}`)).run(one, [], []), 1)
})

test('a database number is used, also after a reconnection', async () => {
  const [zero, three] = [await upLink(as(USER, SECRET)), await upLink(`${as(USER, SECRET)}/3`)]
  const exists = defineScript('exists', "return redis.call('EXISTS', KEYS[1])")
  const set = defineScript('set', "return redis.call('SET', KEYS[1], 1)['ok']")
  for (let round = 0; round < 2; round++) {
    await three.run(set, ['k'], [])
    assert.deepEqual([await zero.run(exists, ['k'], []), await three.run(exists, ['k'], [])], [0, 1])
    await redis.restart()
    await until(() => zero.isUp && three.isUp, 'both are back')
  }
})

test('a Unix socket serves as well', async () => {
  assert.equal(await (await upLink(as(USER, SECRET, `unix://${file('redis.sock')}`))).run(one, [], []), 1)
})

for (const [what, url] of [
  ['a wrong password', () => as(USER, 'not the secret')],
  ['a wrong user', () => as('nobody', SECRET)],
  ['no password', () => redis.url],
] as const) {
  test(`${what} is told as such, without a secret, and never gets in`, async () => {
    const link = openLink(url())
    await until(() => /WRONGPASS|NOAUTH/.test(link.trouble ?? ''), 'the reason')
    const text = await shown(link)
    for (const secret of [SECRET, encodeURIComponent(SECRET), 'not the secret', USER, 'nobody'])
      assert.ok(!text.includes(secret), text)
    assert.ok(!link.isUp)
    await link.close()
  })
}

test('a URL that is none is not repeated by the error', () => {
  const url = `redis://user:${SECRET}@host:notaport`
  assert.throws(
    () => connectRedis(url, SETTINGS, systemClock, seededDice(1)),
    error => !inspect(error).includes(SECRET) && /expected hosts as name:port/.test(String(error)),
  )
})

test('secrets are taken out of any text, as they are and percent-encoded', () => {
  const clean = secretRemover(['a@b', undefined, '', 'a@bc'])
  assert.equal(clean('x a@bc y a%40b z a%40bc'), 'x *** y *** z ***')
  assert.equal(secretRemover([])('as it was'), 'as it was')
})

test('an ACL without INFO, CONFIG and PING: the link is up, and what can not be known is unknown', async () => {
  const rights = ['~k*', '&*', '-@all', '+evalsha', '+eval', '+get', '+subscribe']
  const small = await startRedis(['--user', 'small', 'on', '>pw', ...rights, '--user', 'default', 'off'])
  try {
    const link = await upLink(small.url.replace('://', '://small:pw@'))
    assert.equal(await link.run(one, [], []), 1)
    const [check] = await link.check()
    assert.equal(check!.server, 'unknown')
    assert.match(check!.warnings.join(), /version and maxmemory-policy are unknown/)
    const forbidden = await link.run(defineScript('get', "return redis.call('GET', KEYS[1])"), ['x'], []).catch(e => e)
    assert.equal(forbidden.kind, 'reply')
    assert.ok(!inspect(forbidden).includes('pw'))
    await link.close()
  } finally {
    await small.stop()
  }
})

test('rediss:// speaks TLS to a server whose authority it was given, and to no other', async t => {
  const certificate = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', file('key.pem'), '-out', file('cert.pem'), '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
  ])
  if (certificate.status !== 0) return t.skip('openssl is not there to make a certificate')
  const secure = await startRedis(port => [
    ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
    ...['--tls-cert-file', file('cert.pem'), '--tls-key-file', file('key.pem'), '--tls-ca-cert-file', file('cert.pem')],
  ]).catch(error => {
    if (/Bad directive|without TLS|Failed to configure TLS/i.test(String(error))) return undefined
    throw error
  })
  if (!secure) return t.skip('this Redis is built without TLS')
  t.after(() => secure.stop())
  const url = secure.url.replace('redis:', 'rediss:')
  const ca = readFileSync(file('cert.pem'), 'utf8')
  const link = await upLink(url, { ca })
  assert.equal(await link.run(one, [], []), 1)
  const heard: string[] = []
  link.subscribe('c', message => heard.push(message))
  await publishedUntilHeard(link, 'c', heard)
  const distrusting = openLink(url)
  await until(() => /self.signed certificate/.test(distrusting.trouble ?? ''), 'it is told why')
  const misnamed = openLink(url.replace('127.0.0.1', '127.0.0.2'), { ca })
  await until(() => misnamed.trouble !== 'not connected yet', 'it is told why')
  const plaintext = openLink(secure.url, { ca })
  await until(() => plaintext.trouble !== 'not connected yet', 'it is told why')
  assert.deepEqual(
    [distrusting, misnamed, plaintext].map(one => one.isUp),
    [false, false, false],
  )
})
