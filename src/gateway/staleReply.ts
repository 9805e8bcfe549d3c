// An answer given again: the bytes and headers that came, less what was true of that one reply only.
import type { KeptAnswer } from './answerPorts.ts'
import type { WholeReply } from './ports.ts'

/** An old `date` would set an AWS SDK's clock back; ids and cookies were another call's; the length is told anew. */
const NOT_KEPT = new Set(['date', 'x-amzn-requestid', 'set-cookie', 'content-length', 'age'])

/** What of a reply's headers is worth keeping. */
export function keptHeaders(headers: string[]): string[] {
  return headers.filter((_part, i) => !NOT_KEPT.has(headers[i - (i % 2)]!.toLowerCase()))
}

/** `age` as caches say it (RFC 9111), in seconds. */
export function staleReply({ reply, ageMs }: KeptAnswer, requestId: string): WholeReply {
  const age = String(Math.floor(ageMs / 1000))
  const length = String(reply.body.length)
  const own = ['age', age, 'content-length', length, 'x-amzn-requestid', requestId]
  return { status: reply.status, headers: [...reply.headers, ...own], body: reply.body }
}
