// Which endings another answer may take the place of: those that waiting, or a Bedrock that is well, would have cured. What is
// the request's own fault (too large for the quota, malformed, forbidden) stays the client's to see, and so does a fault of ours.
import type { Refusal, RefusalCode } from '../domain/refusal.ts'

const CODES: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'no-pool-open',
  'queue-full',
  'client-queue-full',
  'wait-too-long',
  'wait-timeout',
  'unknown-pool',
  'overloaded',
  'upstream-unreachable',
  'upstream-cut',
  'upstream-timeout',
  'upstream-invalid',
])

/** Bedrock's: ModelTimeout, ModelError, Throttling and ModelNotReady, InternalServer, a gateway's, ServiceUnavailable. */
const STATUSES: ReadonlySet<number> = new Set([408, 424, 429, 500, 502, 503, 504])

export function isRescuableRefusal({ code }: Refusal): boolean {
  return CODES.has(code)
}

export function isRescuableStatus(status: number): boolean {
  return STATUSES.has(status)
}
