// What a pool used of its requests and of its tokens over the last five minutes, and which of its quotas binds: the one that
// makes people wait, or, while nobody waits, the one that Bedrock throttles by. One slot a minute, so the state is bounded.
import type { Dimension, PoolQuota } from './pool.ts'

export const DIMENSIONS = ['requests', 'tokens'] as const

/** Of one dimension in one minute; amounts are requests or tokens. */
export interface Tally {
  /** Reserved at the sends, corrected by settlements, which may take it below 0. */
  used: number
  /** What the quota believed in would have allowed. */
  believed: number
  /** How long this bucket held somebody back. */
  limitedMs: number
  throttled: number
}

export interface MinuteSlot {
  minute: number
  spanMs: number
  requests: Tally
  tokens: Tally
}

/** The oldest first. */
export type UseMeter = MinuteSlot[]

/** What a step saw of one dimension. */
export interface Sighting {
  used: number
  /** Absent: unlimited. */
  believedPerMinute: number | undefined
  limited: boolean
  throttled: number
}

export interface Evidence {
  used: number
  /** The parts of what was believed of the quota, and of the configured one; a debt or a refund may take them past 1 or 0. */
  ofBelieved: number
  ofConfigured: number
  /** The part of the time in which this bucket held somebody back. */
  limitedPart: number
  throttled: number
}

/** A dimension without a quota has no evidence and never binds. */
export interface Binding {
  binds: Dimension | 'neither'
  /** What the evidence covers. */
  overMs: number
  requests?: Evidence
  tokens?: Evidence
}

const MINUTE_MS = 60_000
const MINUTES = 5
/** A flag speaks of the moment it was raised: a step that comes late takes it for no more than this. */
const LONGEST_LIMITED_MS = 1_000
/** Now and then a head waits a moment in any pool; who is held back for this part of the time has met a limit. */
const BINDING_PART = 0.05

/** The meter after one more step, which took `elapsedMs`. */
export function metered(
  meter: UseMeter,
  seen: Record<Dimension, Sighting>,
  elapsedMs: number,
  nowMs: number,
): UseMeter {
  const minute = Math.floor(nowMs / MINUTE_MS)
  const slots = recent(meter, minute).filter(slot => slot.minute < minute)
  const spanMs = Math.min(elapsedMs, MINUTES * MINUTE_MS)
  const now = meter.find(slot => slot.minute === minute)
  const tally = (dimension: Dimension): Tally => {
    const { used, believedPerMinute = 0, limited, throttled } = seen[dimension]
    const before = now?.[dimension] ?? { used: 0, believed: 0, limitedMs: 0, throttled: 0 }
    return {
      used: before.used + used,
      believed: before.believed + (believedPerMinute * spanMs) / MINUTE_MS,
      limitedMs: before.limitedMs + (limited ? Math.min(spanMs, LONGEST_LIMITED_MS) : 0),
      throttled: before.throttled + throttled,
    }
  }
  slots.push({
    minute,
    spanMs: (now?.spanMs ?? 0) + spanMs,
    requests: tally('requests'),
    tokens: tally('tokens'),
  })
  return slots
}

export function diagnosed(meter: UseMeter, quota: PoolQuota, nowMs: number): Binding {
  const slots = recent(meter, Math.floor(nowMs / MINUTE_MS))
  const overMs = slots.reduce((sum, slot) => sum + slot.spanMs, 0)
  const evidence: { [dimension in Dimension]?: Evidence } = {}
  if (quota.requestsPerMinute !== undefined) evidence.requests = weighed(slots, 'requests', quota.requestsPerMinute)
  if (quota.tokensPerMinute !== undefined) evidence.tokens = weighed(slots, 'tokens', quota.tokensPerMinute)
  return { binds: binding(evidence), overMs, ...evidence }
}

function weighed(slots: MinuteSlot[], dimension: Dimension, quotaPerMinute: number): Evidence {
  const sum = (figure: keyof Tally) => slots.reduce((total, slot) => total + slot[dimension][figure], 0)
  const spanMs = slots.reduce((total, slot) => total + slot.spanMs, 0)
  const used = sum('used')
  const part = (amount: number, whole: number) => (whole > 0 ? amount / whole : 0)
  return {
    used,
    ofBelieved: part(used, sum('believed')),
    ofConfigured: part(used, (quotaPerMinute * spanMs) / MINUTE_MS),
    limitedPart: part(sum('limitedMs'), spanMs),
    throttled: sum('throttled'),
  }
}

function binding(evidence: { [dimension in Dimension]?: Evidence }): Dimension | 'neither' {
  const most = (figure: 'limitedPart' | 'throttled', atLeast: number) =>
    DIMENSIONS.filter(dimension => (evidence[dimension]?.[figure] ?? 0) >= atLeast).sort(
      (a, b) => evidence[b]![figure] - evidence[a]![figure],
    )[0]
  return most('limitedPart', BINDING_PART) ?? most('throttled', 1) ?? 'neither'
}

function recent(meter: UseMeter, minute: number): UseMeter {
  return meter.filter(slot => slot.minute > minute - MINUTES && slot.minute <= minute)
}
