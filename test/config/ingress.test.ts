import assert from 'node:assert/strict'
import { test } from 'node:test'
import { networksOf } from '../../src/config/ingressSchema.ts'
import { formatFault, parseConfig } from '../../src/config/load.ts'

const MODEL = 'models: [{ name: a, modelIds: ["*"], pools: [{ name: p, region: us-east-1 }] }]\n'

function faults(proxies: string): string[] {
  const result = parseConfig(`${MODEL}server: { trustedProxies: ["${proxies}"] }`, 'f.yaml', {})
  return result.kind === 'faulty' ? result.faults.map(formatFault) : []
}

for (const proxy of [
  ...['10.0.0.1', '10.0.0.0/8', '2001:db8::1', '2001:db8::/32', '::1', '::1/128', '::ffff:10.0.0.0/104'],
  ...['loopback', 'linklocal', 'uniquelocal'],
]) {
  test(`trustedProxies: ${proxy} is understood`, () => {
    assert.deepEqual(faults(proxy), [])
    assert.ok(networksOf([proxy]).rules.length > 0)
  })
}

for (const proxy of [
  ...[
    '',
    '10.0.0',
    '010.0.0.1',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '10.0.0.0/-1',
    '10.0.0.0/08',
  ],
  ...['2001:db8::/129', 'fe80::1%eth0', 'example.com', '*', 'Loopback', 'constructor', '10.0.0.1:80', '[::1]'],
]) {
  test(`trustedProxies: "${proxy}" is a fault that says what is expected`, () => {
    assert.match(faults(proxy).join('\n'), /trustedProxies\[0\]: expected an address, a network such as 10\.0\.0\.0\/8/)
  })
}

for (const proxy of ['0.0.0.0/0', '::/0', '::/64', '::1/8']) {
  test(`trustedProxies: ${proxy} would believe everybody, and is refused`, () => {
    assert.match(faults(proxy).join('\n'), /^\S+ server\.trustedProxies\[0\]: expected .*\(not one of everybody\)/)
  })
}

test('loopback, linklocal and uniquelocal are the networks of their names, and no others', () => {
  const networks = networksOf(['loopback', 'linklocal', 'uniquelocal'])
  const within = ['127.9.9.9', '169.254.1.1', '10.255.0.1', '172.31.0.1', '192.168.7.7']
  const outside = ['126.0.0.1', '128.0.0.1', '169.253.1.1', '11.0.0.1', '172.32.0.1', '192.169.0.1', '8.8.8.8']
  for (const address of within) assert.ok(networks.check(address, 'ipv4'), address)
  for (const address of outside) assert.ok(!networks.check(address, 'ipv4'), address)
  for (const address of ['::1', 'fe80::1', 'fd00::1', '::ffff:10.0.0.1'])
    assert.ok(networks.check(address, 'ipv6'), address)
  for (const address of ['::2', '2001:db8::1', 'ff02::1', '::ffff:8.8.8.8'])
    assert.ok(!networks.check(address, 'ipv6'), address)
})
