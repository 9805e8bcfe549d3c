// Where a request comes from, seen through the proxies that are trusted. A proxy appends to X-Forwarded-For the address it
// was called from, so the list is read from its end, and only for as long as what has been named is itself a trusted proxy:
// what a client wrote there stands further left and is never reached. `Forwarded` (RFC 7239) is not read: few proxies write
// it, and those that do not would pass a client's own on as it came.
import { type BlockList, isIP, SocketAddress } from 'node:net'
import type { Request } from '../transport/onePort.ts'

/** Proxies in a row that are followed. */
const MAX_HOPS = 32
/** The longest entry that can be an address: IPv6 in brackets, with a port. */
const MAX_ENTRY_CHARS = 64
/** Some proxies write the port too. */
const WITH_PORT = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/

export class ClientAddress {
  readonly #proxies: BlockList
  readonly #trustsAny: boolean

  constructor(proxies: BlockList) {
    this.#proxies = proxies
    this.#trustsAny = proxies.rules.length > 0
  }

  /** undefined: the connection is gone already. */
  of(request: Request): string | undefined {
    const remote = request.socket?.remoteAddress
    if (remote === undefined) return undefined
    const peer = plain(remote)
    if (!this.#trustsAny) return peer
    const forwarded = request.headers['x-forwarded-for']
    return typeof forwarded === 'string' ? this.#walk(peer, forwarded) : peer
  }

  /** What a connection counts as; undefined: it does not, since a proxy's carries everybody. */
  countedPeer(peer: string): string | undefined {
    const address = plain(peer)
    return this.#isTrusted(address) ? undefined : subscriberOf(address)
  }

  #isTrusted(address: string): boolean {
    return this.#trustsAny && this.#proxies.check(address, address.includes(':') ? 'ipv6' : 'ipv4')
  }

  /** Ends at the first that is not trusted, or before an entry that is no address. */
  #walk(peer: string, forwarded: string): string {
    let client = peer
    let end = forwarded.length
    for (let hop = 0; hop < MAX_HOPS && end >= 0 && this.#isTrusted(client); hop++) {
      const start = end === 0 ? -1 : forwarded.lastIndexOf(',', end - 1)
      const named = addressIn(forwarded.slice(start + 1, end))
      if (named === undefined) break
      client = named
      end = start
    }
    return client
  }
}

function addressIn(entry: string): string | undefined {
  if (entry.length > MAX_ENTRY_CHARS) return undefined
  const text = entry.trim()
  const match = WITH_PORT.exec(text)
  const address = match ? (match[1] ?? match[2]!) : text
  const family = isIP(address)
  if (family === 4) return address
  return family === 6 ? plain(new SocketAddress({ address, family: 'ipv6' }).address) : undefined
}

/** One spelling for each address: IPv4 as IPv4 where IPv6 carries it, and no zone. */
function plain(address: string): string {
  if (!address.includes(':')) return address
  if (address.startsWith('::ffff:') && address.includes('.')) return address.slice(7)
  const zone = address.indexOf('%')
  return zone < 0 ? address : address.slice(0, zone)
}

/** What counts as one: an IPv4 address, or the /64 of an IPv6 address, since one subscriber has all of it. */
export function subscriberOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined && groups.length < 4) {
    const after = tail === '' ? [] : tail.split(':')
    const zeros = 8 - groups.length - after.length
    for (let i = 0; i < zeros; i++) groups.push('0')
    groups.push(...after)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}
