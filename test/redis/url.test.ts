import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { describeAddress, parseRedisUrl, type RedisAddress } from '../../src/redis/url.ts'
import { seeded } from '../support/seeds.ts'

function address(url: string): RedisAddress {
  const parsed = parseRedisUrl(url)
  if (parsed.kind !== 'ok') throw new Error(parsed.expected)
  return parsed.address
}

const server: RedisAddress = { kind: 'server', tls: false, nodes: [{ host: 'h', port: 6379 }], database: 0 }
const cluster: RedisAddress = { ...server, kind: 'cluster' }
const GOOD: [string, RedisAddress][] = [
  ['redis://h', server],
  ['redis://h/', server],
  ['REDIS://h', server],
  ['redis://h:6380/3', { ...server, nodes: [{ host: 'h', port: 6380 }], database: 3 }],
  ['rediss://h', { ...server, tls: true }],
  ['redis://10.0.0.1:1', { ...server, nodes: [{ host: '10.0.0.1', port: 1 }] }],
  ['redis://[::1]:7000', { ...server, nodes: [{ host: '::1', port: 7000 }] }],
  ['redis://u:p@h', { ...server, username: 'u', password: 'p' }],
  ['redis://:p@h', { ...server, password: 'p' }],
  ['redis://u:a:b@c/d?e#@h', { ...server, username: 'u', password: 'a:b@c/d?e#' }],
  ['redis://u:p%40%2F%25@h', { ...server, username: 'u', password: 'p@/%' }],
  ['redis+cluster://h', cluster],
  [
    'rediss+cluster://u:p@a:1,b:2,[fe80::1]:3',
    {
      ...cluster,
      tls: true,
      nodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
        { host: 'fe80::1', port: 3 },
      ],
      username: 'u',
      password: 'p',
    },
  ],
  ['unix:///run/redis.sock', { kind: 'socket', tls: false, nodes: [], path: '/run/redis.sock', database: 0 }],
  [
    'unix://u:p@/run/redis.sock',
    { kind: 'socket', tls: false, nodes: [], path: '/run/redis.sock', database: 0, username: 'u', password: 'p' },
  ],
]
for (const [url, expected] of GOOD) {
  test(`${url} is understood`, () => assert.deepEqual(address(url), expected))
}

const BAD: [string, RegExp][] = [
  ['', /a Redis URL/],
  ['h:6379', /a Redis URL/],
  ['http://h', /a Redis URL/],
  ['redis:/h', /a Redis URL/],
  ['redis://', /a Redis URL/],
  ['redis://h/x', /a Redis URL/],
  ['redis://h?db=1', /a Redis URL/],
  ['redis://h h', /a Redis URL/],
  ['redis://h:0', /name:port/],
  ['redis://h:65536', /name:port/],
  ['redis://h:x', /name:port/],
  ['redis+cluster://a:1,', /name:port/],
  ['redis://a,b', /redis\+cluster/],
  ['redis+cluster://a/1', /database/],
  ['redis://user@h', /a password after the user/],
  ['redis://user:@h', /a password after the user/],
  ['redis://u:%zz@h', /percent-encoded/],
  ['unix://run/redis.sock', /a Redis URL/],
]
for (const [url, expected] of BAD) {
  test(`${JSON.stringify(url)} is told what was expected`, () => {
    const parsed = parseRedisUrl(url)
    assert.equal(parsed.kind, 'faulty')
    if (parsed.kind === 'faulty') assert.match(parsed.expected, expected)
  })
}

test('no text of any URL, good or bad, repeats a password', t => {
  const password = fc.string({ minLength: 8, unit: 'grapheme' })
  const around = fc.constantFrom('redis://u:$@h', 'redis://u:$@h/x', 'redis:/u:$@h', 'u:$@h', 'redis+cluster://:$@a,b,')
  fc.assert(
    fc.property(password, around, (secret, url) => {
      const parsed = parseRedisUrl(url.replace('$', () => secret))
      const told = parsed.kind === 'ok' ? describeAddress(parsed.address) : parsed.expected
      assert.ok(!told.includes(secret))
    }),
    seeded(t, 100),
  )
})

test('a described address is a URL of the same place', () => {
  for (const [url] of GOOD) {
    const { username, password, ...place } = address(url)
    assert.deepEqual(address(describeAddress(place)), place)
  }
})
