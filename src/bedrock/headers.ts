// Which headers may cross. Between hops nothing of the connection passes. Towards AWS nothing of the client's own signature
// or keys does either (it covers the host the client saw, so it could not be valid there), nor what proxies say of where
// and who the client is: that is nobody's business there.

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
  'api-key',
  'authorization',
  'content-length',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'true-client-ip',
  'via',
  'x-api-key',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-http-method-override',
  'x-original-url',
  'x-real-ip',
  'x-rewrite-url',
])

/**
 * `x-amz-`: SigV4's own, which AWS reads whether they were signed or not. The others are a proxy's word on who calls and how
 * (a load balancer's are `x-amzn-oidc-`, with the token of whoever logged in, `x-amzn-mtls-` and `x-amzn-tls-`).
 */
const NOT_UPSTREAM_PREFIX = /^(?:x-(?:sluice|amz|forwarded|amzn-(?:oidc|mtls|tls))-|x-forwarded$|proxy-|cf-|:)/
/** Which SDK it is; AWS reads no more into it. */
const SDK_NAME = 'x-amz-user-agent'

/** Headers for Sluice itself; none of them reaches AWS. */
export const OWN_HEADER_PREFIX = 'x-sluice-'

/** Flat request headers, fit to send on. HTTP/2 pseudo-headers are dropped too. */
export function upstreamHeaders(headers: string[]): string[] {
  return keep(headers, name => !NOT_UPSTREAM.has(name) && (!NOT_UPSTREAM_PREFIX.test(name) || name === SDK_NAME))
}

/** What is Sluice's to say to its clients, or nobody's: where else to go. */
const NOT_DOWNSTREAM = new Set([...HOP_BY_HOP, 'alt-svc', 'ratelimit', 'ratelimit-policy'])

/** Flat response headers, fit to hand back. */
export function downstreamHeaders(headers: string[]): string[] {
  return keep(headers, name => !NOT_DOWNSTREAM.has(name) && !name.startsWith(OWN_HEADER_PREFIX))
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
