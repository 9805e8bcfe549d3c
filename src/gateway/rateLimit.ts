// A client's limits as its answers tell them: RateLimit-Policy and RateLimit, structured fields of the IETF draft
// "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-11). `q`: the limit, in units `qu` (requests unless
// said), within `w` seconds; `r`: what is left of it; `t`: seconds until all of it is back. A policy may have no unit but those
// of a registry, which has none for tokens, and one without a unit would be read as requests: so the limit of tokens is told
// beside what is left of it, in a parameter of our own.
import type { Levels, LimitSettings } from '../domain/limits/clientLimits.ts'
import { WINDOW_MS } from '../domain/limits/meter.ts'
import type { RateLimitNote } from './limitPorts.ts'

const WINDOW_S = WINDOW_MS / 1000
const policies = new WeakMap<LimitSettings, string>()

export function isCounted({ requestsPerMinute, tokensPerMinute, concurrent }: LimitSettings): boolean {
  return (requestsPerMinute ?? tokensPerMinute ?? concurrent) !== undefined
}

/** The limits alone, for who was not counted; undefined: there is none to tell. */
export function policyNote(settings: LimitSettings): RateLimitNote | undefined {
  const policy = policyText(settings)
  return policy === '' ? undefined : { policy }
}

/** Of settings that do not change, so that it is spelt once; empty: tokens alone are limited, or nothing is. */
function policyText(settings: LimitSettings): string {
  let text = policies.get(settings)
  if (text === undefined) {
    text = spelt(settings)
    policies.set(settings, text)
  }
  return text
}

function spelt({ requestsPerMinute, concurrent }: LimitSettings): string {
  const items: string[] = []
  if (requestsPerMinute !== undefined) items.push(`"requests";q=${requestsPerMinute};w=${WINDOW_S}`)
  if (concurrent !== undefined) items.push(`"concurrent";q=${concurrent};qu="concurrent-requests"`)
  return items.join(', ')
}

/** `agoMs`: since the call was decided. What has become free meanwhile is not known here: `r` is at least that. */
export function rateLimitNote(settings: LimitSettings, levels: Levels, agoMs: number): RateLimitNote {
  const { requests, tokens, concurrent } = levels
  const seconds = (resetMs: number) => Math.ceil(Math.max(0, resetMs - Math.max(0, agoMs)) / 1000)
  const items: string[] = []
  if (requests) items.push(`"requests";r=${requests.remaining};t=${seconds(requests.resetMs)}`)
  if (tokens) {
    const limit = settings.tokensPerMinute
    items.push(`"tokens";r=${tokens.remaining};t=${seconds(tokens.resetMs)};sluice-q=${limit}`)
  }
  if (concurrent) items.push(`"concurrent";r=${concurrent.remaining}`)
  return { ...policyNote(settings), level: items.join(', ') }
}
