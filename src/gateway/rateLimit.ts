// A client's limits as its answers tell them: RateLimit-Policy and RateLimit, structured fields of the IETF draft
// "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-09). `q`: the limit, in units `qu` (requests unless
// said), within `w` seconds; `r`: what is left of it; `t`: seconds until all of it is back.
import type { Levels, LimitSettings } from '../domain/limits/clientLimits.ts'
import { WINDOW_MS } from '../domain/limits/meter.ts'
import type { RateLimitNote } from './limitPorts.ts'

const WINDOW_S = WINDOW_MS / 1000
const policies = new WeakMap<LimitSettings, string>()

/** Of settings that do not change, so that it is spelt once; empty: nothing is counted. */
export function policyText(settings: LimitSettings): string {
  let text = policies.get(settings)
  if (text === undefined) {
    text = spelt(settings)
    policies.set(settings, text)
  }
  return text
}

function spelt({ requestsPerMinute, tokensPerMinute, concurrent }: LimitSettings): string {
  const items: string[] = []
  if (requestsPerMinute !== undefined) items.push(`"requests";q=${requestsPerMinute};w=${WINDOW_S}`)
  if (tokensPerMinute !== undefined) items.push(`"tokens";q=${tokensPerMinute};w=${WINDOW_S};qu="tokens"`)
  if (concurrent !== undefined) items.push(`"concurrent";q=${concurrent};qu="concurrent-requests"`)
  return items.join(', ')
}

/** `agoMs`: since the call was decided. What has become free meanwhile is not known here: `r` is at least that. */
export function rateLimitNote(policy: string, { requests, tokens, concurrent }: Levels, agoMs: number): RateLimitNote {
  const seconds = (resetMs: number) => Math.ceil(Math.max(0, resetMs - Math.max(0, agoMs)) / 1000)
  const items: string[] = []
  if (requests) items.push(`"requests";r=${requests.remaining};t=${seconds(requests.resetMs)}`)
  if (tokens) items.push(`"tokens";r=${tokens.remaining};t=${seconds(tokens.resetMs)}`)
  if (concurrent) items.push(`"concurrent";r=${concurrent.remaining}`)
  return { policy, level: items.join(', ') }
}
