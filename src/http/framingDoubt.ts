// HTTP/1 requests that node's parser lets pass and that RFC 9112 calls faulty, because another server on the way may take
// another host for theirs, or another place for their end.
import type { Request } from '../transport/onePort.ts'

/** What is wrong, for the client; undefined: nothing is. */
export function doubtOf({ httpVersion, httpVersionMajor, headers, rawHeaders }: Request): string | undefined {
  if (httpVersionMajor === 2) return undefined
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 'The request is neither HTTP/1.1 nor HTTP/1.0.'
  if (httpVersion === '1.0') {
    // Section 6.1: who knows HTTP/1.0 only does not see where the chunks end.
    if (headers['transfer-encoding'] !== undefined) return 'HTTP/1.0 has no transfer-encoding.'
  } else if (headers.host === undefined) return 'The request has no host header.'
  return hostsIn(rawHeaders) > 1 ? 'The request has more than one host header.' : undefined
}

function hostsIn(rawHeaders: string[]): number {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts += 1
  }
  return hosts
}
