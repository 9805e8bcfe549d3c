// Which headers may cross. Between hops nothing of the connection passes; towards AWS nothing of the client's own
// signature or keys does either: it covers the host the client saw, so it could not be valid there. Nor does what proxies in
// front wrote about the client: where it is and how it came is no business of AWS's.

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

const NOT_UPSTREAM = new Set([
  ...HOP_BY_HOP,
  'authorization',
  'content-length',
  'expect',
  'forwarded',
  'host',
  'via',
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-security-token',
  'x-api-key',
  'x-real-ip',
])
const FORWARDED_PREFIX = 'x-forwarded-'

/** Headers for Sluice itself; none of them reaches AWS. */
export const OWN_HEADER_PREFIX = 'x-sluice-'

/** Flat request headers, fit to send on. HTTP/2 pseudo-headers are dropped too. */
export function upstreamHeaders(headers: string[]): string[] {
  return keep(headers, mayReachAws)
}

function mayReachAws(name: string): boolean {
  if (NOT_UPSTREAM.has(name) || name[0] === ':') return false
  return !name.startsWith(OWN_HEADER_PREFIX) && !name.startsWith(FORWARDED_PREFIX)
}

/** Flat response headers, fit to hand back. Ours are ours to say. */
export function downstreamHeaders(headers: string[]): string[] {
  return keep(headers, name => !HOP_BY_HOP.has(name) && !name.startsWith(OWN_HEADER_PREFIX))
}

function keep(headers: string[], wanted: (lowerCaseName: string) => boolean): string[] {
  const named = connectionNames(headers)
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase()
    if (wanted(name) && !named?.has(name)) kept.push(headers[i]!, headers[i + 1]!)
  }
  return kept
}

/** Header names that `Connection` itself declares hop-by-hop (RFC 9110 §7.6.1). */
function connectionNames(headers: string[]): Set<string> | undefined {
  let names: Set<string> | undefined
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]!.length !== 10 || headers[i]!.toLowerCase() !== 'connection') continue
    names ??= new Set()
    for (const name of headers[i + 1]!.split(',')) names.add(name.trim().toLowerCase())
  }
  return names
}

/** The first value of a header in a flat list. */
export function headerValue(headers: string[], lowerCaseName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]!.length === lowerCaseName.length && headers[i]!.toLowerCase() === lowerCaseName)
      return headers[i + 1]
  }
  return undefined
}
