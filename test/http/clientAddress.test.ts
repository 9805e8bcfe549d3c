import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { networksOf } from '../../src/config/ingressSchema.ts'
import { ClientAddress, subscriberOf } from '../../src/http/clientAddress.ts'
import type { Request } from '../../src/transport/onePort.ts'
import { seeded } from '../support/seeds.ts'

const PROXIES = ['10.0.0.0/8', '2001:db8:ff::/48']

function client(peer: string | undefined, forwarded?: string, proxies = PROXIES): string | undefined {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
  return new ClientAddress(networksOf(proxies)).of({ socket: { remoteAddress: peer }, headers } as Request)
}

for (const [name, peer, forwarded, expected] of [
  ['an untrusted peer is the client, whatever it writes', '8.8.8.8', '1.1.1.1, 10.0.0.1', '8.8.8.8'],
  ['a trusted peer that names nobody is the client', '10.0.0.1', undefined, '10.0.0.1'],
  ['a trusted peer names the client', '10.0.0.1', '1.1.1.1', '1.1.1.1'],
  ['the walk goes on over trusted hops', '10.0.0.1', '1.1.1.1, 10.0.0.3, 10.0.0.2', '1.1.1.1'],
  ['the first untrusted from the right is the client', '10.0.0.1', '9.9.9.9, 1.1.1.1, 10.0.0.2', '1.1.1.1'],
  ['all of them trusted: the first', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ['an entry that is no address ends the walk', '10.0.0.1', '1.1.1.1, garbage, 10.0.0.2', '10.0.0.2'],
  ['… also where it is the only one', '10.0.0.1', 'unix:', '10.0.0.1'],
  ['an empty entry ends the walk', '10.0.0.1', '1.1.1.1,,10.0.0.2', '10.0.0.2'],
  ['a header that begins with a comma', '10.0.0.1', ',10.0.0.2', '10.0.0.2'],
  ['an empty header', '10.0.0.1', '', '10.0.0.1'],
  ['only commas', '10.0.0.1', ',,,', '10.0.0.1'],
  ['an endless entry is no address', '10.0.0.1', `${' '.repeat(10_000)}1.1.1.1`, '10.0.0.1'],
  ['a port beside an IPv4 address', '10.0.0.1', '1.1.1.1:4711', '1.1.1.1'],
  ['a port beside an IPv6 address', '10.0.0.1', '[2001:db8::7]:4711', '2001:db8::7'],
  ['brackets without a port', '10.0.0.1', '[2001:db8::7]', '2001:db8::7'],
  ['IPv6, spelt at length', '10.0.0.1', '2001:0DB8:0:0:0:0:0:7', '2001:db8::7'],
  ['an IPv6 proxy', '2001:db8:ff::1', '1.1.1.1', '1.1.1.1'],
  ['IPv4 carried by IPv6 is the IPv4 address it is: trusted', '::ffff:10.0.0.1', '1.1.1.1', '1.1.1.1'],
  ['… not trusted', '::ffff:8.8.8.8', '1.1.1.1', '8.8.8.8'],
  ['… as an entry', '10.0.0.1', '1.1.1.1, 0:0:0:0:0:ffff:a00:2', '1.1.1.1'],
  ['a zone is not part of an address', 'fe80::1%eth0', undefined, 'fe80::1'],
  ['a connection that is gone has none', undefined, '1.1.1.1', undefined],
] as const) {
  test(`${name}: ${peer} ← ${String(forwarded).slice(0, 40)}`, () => assert.equal(client(peer, forwarded), expected))
}

test('nobody is trusted by default', () => {
  assert.equal(client('127.0.0.1', '1.1.1.1', []), '127.0.0.1')
})

test('no more than 32 hops are followed', () => {
  const hops = Array.from({ length: 40 }, (_, i) => `10.0.1.${40 - i}`)
  assert.equal(client('10.0.0.1', `1.1.1.1, ${hops.slice(-31).join(', ')}`), '1.1.1.1')
  assert.equal(client('10.0.0.1', `1.1.1.1, ${hops.join(', ')}`), '10.0.1.32')
})

test('whatever a client writes in front, it is counted at the address its proxy saw', t => {
  const { seed, numRuns } = seeded(t, 2_000)
  const forged = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 50 }), fc.constantFrom('10.0.0.9', ',', '[', ''))
  const real = fc.oneof(fc.ipV4(), fc.ipV6()).filter(address => !client(address, '1.1.1.1')!.startsWith('1.1.1.1'))
  fc.assert(
    fc.property(real, fc.array(forged, { maxLength: 5 }), fc.nat(3), (address, parts, hops) => {
      const trail = [address, ...Array.from({ length: hops }, (_, i) => `10.0.0.${i + 2}`)]
      const honest = client('10.0.0.1', trail.join(', '))
      assert.equal(client('10.0.0.1', [...parts, ...trail].join(', ')), honest)
      assert.equal(client(address, parts.join(', ')), client(address))
    }),
    { seed, numRuns },
  )
})

for (const [address, expected] of [
  ['10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['2001:db8::1:2:3:4:5', '2001:db8:0:1::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::', 'fe80:0:0:0::/64'],
] as const) {
  test(`${address} counts as ${expected}`, () => assert.equal(subscriberOf(address), expected))
}

test('addresses of one /64 count as one, those of two as two', t => {
  const { seed, numRuns } = seeded(t, 1_000)
  const groups = (n: number) => fc.array(fc.nat(0xffff), { minLength: n, maxLength: n })
  const spelt = (parts: number[]) => client(parts.map(part => part.toString(16)).join(':'), undefined, [])!
  const canonical = (parts: number[]) => client('10.0.0.1', spelt(parts))!
  fc.assert(
    fc.property(groups(4), groups(4), groups(4), groups(4), (network, other, host, neighbour) => {
      fc.pre(network.join() !== other.join() && network.join() !== '0,0,0,0' && other.join() !== '0,0,0,0')
      fc.pre(!spelt(network).startsWith('2001:db8:ff:') && !spelt(other).startsWith('2001:db8:ff:'))
      const counted = subscriberOf(canonical([...network, ...host]))
      assert.equal(subscriberOf(canonical([...network, ...neighbour])), counted)
      assert.notEqual(subscriberOf(canonical([...other, ...host])), counted)
    }),
    { seed, numRuns },
  )
})
