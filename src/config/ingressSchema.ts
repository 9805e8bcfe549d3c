// The guard in front of identity: what one address may do, and which proxies are believed when they name an address.
import { BlockList, isIP } from 'node:net'
import { z } from 'zod'

export const ingress = z
  .strictObject({
    requestsPerMinute: z
      .int()
      .min(1)
      .max(1e9)
      .optional()
      .describe('Requests one address may send in a minute. Absent: no limit here.'),
    failedIdentitiesPerMinute: z
      .int()
      .min(1)
      .max(1e6)
      .default(30)
      .describe(
        'Wrong credentials one address may try in a minute; after them only credentials proven there are looked at.',
      ),
    connectionsPerAddress: z
      .int()
      .min(1)
      .max(1e6)
      .optional()
      .describe(
        'Open connections of one address, trusted proxies aside; one more is closed at once. Absent: no limit.',
      ),
  })
  .prefault({})
  .describe('What one address may do, before anybody asks who it is. An IPv6 address counts with its /64.')

const NAMED_NETWORKS: Record<string, string[]> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
}

export const trustedProxies = z
  .array(
    z
      .string()
      .refine(
        isNetwork,
        'an address, a network such as 10.0.0.0/8 (not one of everybody), or one of loopback, linklocal, uniquelocal',
      ),
  )
  .max(1000)
  .default([])
  .describe('Addresses and networks whose X-Forwarded-For is believed; also `loopback`, `linklocal`, `uniquelocal`.')

/** What `trustedProxies` comes to. Networks that a config was refused for are not for it. */
export function networksOf(words: readonly string[]): BlockList {
  const networks = new BlockList()
  for (const network of words.flatMap(word => NAMED_NETWORKS[word] ?? [word])) add(networks, network)
  return networks
}

function isNetwork(word: string): boolean {
  if (Object.hasOwn(NAMED_NETWORKS, word)) return true
  const [address = '', prefix, ...rest] = word.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0 || address.includes('%')) return false
  if (prefix === undefined) return true
  // A prefix of 0 would believe everybody, and so whatever a client writes.
  if (!/^[1-9]\d{0,2}$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) return false
  return !coversAllIpv4(word)
}

/** Such as ::/64: IPv6 writes every IPv4 address within it. */
function coversAllIpv4(network: string): boolean {
  const networks = new BlockList()
  add(networks, network)
  return networks.check('0.0.0.0', 'ipv4') && networks.check('255.255.255.255', 'ipv4')
}

function add(networks: BlockList, network: string): void {
  const [address = '', prefix] = network.split('/')
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  if (prefix === undefined) networks.addAddress(address, family)
  else networks.addSubnet(address, Number(prefix), family)
}
