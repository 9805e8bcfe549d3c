// Leaves a pool alone that fails, and comes back with care: closed → shut → half-open, with 1, 3, then 10 probes of all gateways
// together → ramping → closed (Nygard's circuit breaker). What admits knows only a gate: open to all, shut, or so many more.
// Failures trip it, throttles only when nothing at all is accepted: an exhausted daily quota, a quota of zero. It says how much
// of the pace may pass and never touches the rate the pace has learned.
//
// The room itself shuts a gate between two steps, at the last of so many failures in a row: a shut gate is how a closed breaker
// learns of it. How many those are is told from here (failuresToShut).
import type { Dice } from './clock.ts'
import { OPEN_TO_ALL, SHUT } from './pool.ts'

export interface BreakerSettings {
  failures: number
  failureShare: number
  minCalls: number
  windowMs: number
  shutMs: number
  longestShutMs: number
  rampMs: number
}

export const TRIP_CAUSES = ['failures-in-row', 'failure-share', 'only-throttles'] as const
export type TripCause = (typeof TRIP_CAUSES)[number]
export type BreakerReason = TripCause | 'shut-time-over' | 'probes-succeeded' | 'probe-failed' | 'ramped'

/** What happened lately while it was open: calls by time slot, and throttles in a row with nothing accepted between. */
export interface Recent {
  slots: { slot: number; calls: number; failed: number }[]
  throttledRow: number
  rowSinceMs: number
}

/** Times are the ledger's. `trips`: in a row, since it was last closed. */
export type BreakerState =
  | { kind: 'closed'; sinceMs: number; recent: Recent }
  | { kind: 'shut'; sinceMs: number; cause: TripCause; trips: number; opensAtMs: number }
  | {
      kind: 'half-open'
      sinceMs: number
      cause: TripCause
      trips: number
      phase: number
      good: number
      bad: number
      outMs: number
    }
  | { kind: 'ramping'; sinceMs: number; cause: TripCause; trips: number; recent: Recent }

/** Of one pool and all gateways, since the last step. */
export interface BreakerNews {
  accepted: number
  throttled: number
  succeeded: number
  failed: number
  failedInRow: number
  gate: number
}

export interface BreakerStep {
  state: BreakerState
  /** Only when it has to change. */
  gate?: number
  /** Present at a transition. */
  reason?: BreakerReason
}

export const PROBES = [1, 3, 10]
/** When no probe has ended for so long, one more may go. */
export const PROBE_MS = 60_000
const SLOTS = 10
/** A row of failures so improbable at the rate at which calls fail anyway is no chance … */
const IMPROBABLE = 1e-5
/** … and one so long never is. */
const LONGEST_ROW = 20
/** Throttles say that it is up: whether they are over is worth asking more often. */
const LONGEST_THROTTLED_MS = 15_000
const THROTTLES_IN_ROW = 5
const THROTTLED_FOR_MS = 10_000
/** The part of a shut time that chance may take off. */
const JITTER = 0.25
const RAMP_START = 0.25
/** More doublings than any shut time takes to reach its longest. */
const MOST_TRIPS = 32

export function startBreaker(nowMs: number): BreakerState {
  return { kind: 'closed', sinceMs: nowMs, recent: nothingRecent() }
}

export function stepBreaker(
  before: BreakerState,
  news: BreakerNews,
  settings: BreakerSettings,
  nowMs: number,
  dice: Dice,
): BreakerStep {
  // A clock that stepped back must not stretch a ramp, nor a shut time.
  const state = { ...before, sinceMs: Math.min(before.sinceMs, nowMs) }
  const step = nextStep(state, news, settings, nowMs, dice)
  // What is told already is not told again; what the room has lost (it was built anew) is.
  return step.gate === news.gate ? { state: step.state, ...(step.reason && { reason: step.reason }) } : step
}

/** The part of the pace that may pass. */
export function admittedPart(state: BreakerState, { rampMs }: BreakerSettings, nowMs: number): number {
  if (state.kind !== 'ramping' || rampMs === 0) return 1
  const ramped = Math.min(1, Math.max(0, (nowMs - state.sinceMs) / rampMs))
  return RAMP_START + (1 - RAMP_START) * ramped
}

type HalfOpen = BreakerState & { kind: 'half-open' }

function nextStep(
  state: BreakerState,
  news: BreakerNews,
  settings: BreakerSettings,
  nowMs: number,
  dice: Dice,
): BreakerStep {
  if (state.kind === 'shut') {
    if (nowMs < Math.min(state.opensAtMs, state.sinceMs + settings.longestShutMs)) return { state, gate: SHUT }
    const { cause, trips } = state
    const probing = {
      kind: 'half-open' as const,
      sinceMs: nowMs,
      cause,
      trips,
      phase: 0,
      good: 0,
      bad: 0,
      outMs: nowMs,
    }
    return { state: probing, gate: PROBES[0]!, reason: 'shut-time-over' }
  }
  if (state.kind === 'half-open') {
    const counted = withProbes(state, news)
    if (counted.bad > settings.failureShare * PROBES[state.phase]!) {
      const cause = news.failed > 0 && state.cause === 'only-throttles' ? 'failures-in-row' : state.cause
      return trip(cause, state.trips + 1, 'probe-failed', settings, nowMs, dice)
    }
    return probed(counted, news, settings, nowMs)
  }
  const recent = noted(state.recent, news, settings, nowMs)
  const toShut = failuresToShut({ ...state, recent }, news.failedInRow, settings)
  const cause = tripCause(recent, toShut, news, settings, nowMs)
  if (cause) return trip(cause, state.kind === 'ramping' ? state.trips + 1 : 1, cause, settings, nowMs, dice)
  if (state.kind === 'ramping' && nowMs - state.sinceMs >= settings.rampMs)
    return { state: { kind: 'closed', sinceMs: nowMs, recent }, gate: OPEN_TO_ALL, reason: 'ramped' }
  return { state: { ...state, recent }, gate: OPEN_TO_ALL }
}

function trip(
  cause: TripCause,
  trips: number,
  reason: BreakerReason,
  { shutMs, longestShutMs }: BreakerSettings,
  nowMs: number,
  dice: Dice,
): BreakerStep {
  const inRow = Math.max(1, Math.min(trips, MOST_TRIPS))
  const longestMs = cause === 'only-throttles' ? Math.min(longestShutMs, LONGEST_THROTTLED_MS) : longestShutMs
  const forMs = Math.min(longestMs, shutMs * 2 ** (inRow - 1)) * (1 - JITTER * dice())
  const state = { kind: 'shut' as const, sinceMs: nowMs, cause, trips: inRow }
  return { state: { ...state, opensAtMs: nowMs + forMs }, gate: SHUT, reason }
}

/**
 * A pool that throttles is up again; where throttles were the trouble, to be accepted is enough (an answer may take a minute),
 * and to be throttled again is not.
 */
function withProbes(state: HalfOpen, { accepted, throttled, succeeded, failed }: BreakerNews): HalfOpen {
  const isThrottles = state.cause === 'only-throttles'
  const isThrottled = isThrottles && accepted === 0
  const good = (isThrottles ? accepted : succeeded) + (isThrottled ? 0 : throttled)
  const bad = failed + (isThrottled ? throttled : 0)
  return { ...state, good: Math.max(0, state.good) + good, bad: Math.max(0, state.bad) + bad }
}

/** A phase is over when all of its probes have ended, few enough of them badly. */
function probed(state: HalfOpen, news: BreakerNews, { rampMs }: BreakerSettings, nowMs: number): BreakerStep {
  const { cause, trips, phase, good, bad } = state
  const probes = PROBES[phase]!
  const ended = good + bad
  if (ended >= probes && phase + 1 < PROBES.length) {
    const next = { phase: phase + 1, good: 0, bad: 0, outMs: nowMs }
    return { state: { ...state, ...next }, gate: PROBES[phase + 1]! }
  }
  if (ended >= probes) {
    const open = { sinceMs: nowMs, recent: nothingRecent() }
    const hasRamp = cause !== 'only-throttles' && rampMs > 0
    const after: BreakerState = hasRamp ? { kind: 'ramping', cause, trips, ...open } : { kind: 'closed', ...open }
    return { state: after, gate: OPEN_TO_ALL, reason: 'probes-succeeded' }
  }
  if (news.gate < SHUT) return { state: { ...state, outMs: nowMs }, gate: probes - ended }
  // Probes that nobody has asked for yet are not late.
  if (news.gate > SHUT) return { state: { ...state, outMs: nowMs }, gate: news.gate }
  const outMs = Math.min(state.outMs, nowMs)
  return nowMs - outMs < PROBE_MS ? { state: { ...state, outMs } } : { state: { ...state, outMs: nowMs }, gate: 1 }
}

/**
 * Failures in a row that shut it: as many as are set, or, where calls fail now and then anyway, as many as chance would hardly
 * bring about. `failedInRow`: the present row, which proves nothing of what was before it.
 */
export function failuresToShut(state: BreakerState, failedInRow: number, settings: BreakerSettings): number {
  if (state.kind !== 'closed' && state.kind !== 'ramping') return settings.failures
  const { calls, failed } = callsOf(state.recent)
  const rate = (failed - failedInRow) / (calls - failedInRow)
  if (calls - failedInRow < settings.minCalls || !(rate > 0)) return settings.failures
  const row = rate < 1 ? Math.ceil(Math.log(IMPROBABLE) / Math.log(rate)) : LONGEST_ROW
  return Math.max(settings.failures, Math.min(row, LONGEST_ROW))
}

function callsOf({ slots }: Recent): { calls: number; failed: number } {
  return {
    calls: slots.reduce((sum, slot) => sum + slot.calls, 0),
    failed: slots.reduce((sum, slot) => sum + slot.failed, 0),
  }
}

function nothingRecent(): Recent {
  return { slots: [], throttledRow: 0, rowSinceMs: 0 }
}

/** At most SLOTS slots: the window moves on by a slot at a time. */
function noted(recent: Recent, news: BreakerNews, { windowMs }: BreakerSettings, nowMs: number): Recent {
  const { accepted, throttled, succeeded, failed } = news
  const slot = Math.floor(nowMs / (windowMs / SLOTS))
  const slots = recent.slots.filter(one => one.slot > slot - SLOTS && one.slot < slot)
  const now = recent.slots.find(one => one.slot === slot) ?? { slot, calls: 0, failed: 0 }
  slots.push({ slot, calls: now.calls + succeeded + failed, failed: now.failed + failed })
  const isAccepting = accepted > 0 || succeeded > 0
  const throttledRow = isAccepting ? 0 : Math.min(THROTTLES_IN_ROW, recent.throttledRow + throttled)
  const rowSinceMs = recent.throttledRow === 0 ? nowMs : Math.min(recent.rowSinceMs, nowMs)
  return { slots, throttledRow, rowSinceMs }
}

/** Only what this step brought can trip it: what happened before it was open does not. */
function tripCause(
  recent: Recent,
  toShut: number,
  { failed, throttled, failedInRow, gate }: BreakerNews,
  { failureShare, minCalls }: BreakerSettings,
  nowMs: number,
): TripCause | undefined {
  if (gate === SHUT || (failed > 0 && failedInRow >= toShut)) return 'failures-in-row'
  const { calls, failed: failedCalls } = callsOf(recent)
  if (failed > 0 && calls >= minCalls && failedCalls >= failureShare * calls) return 'failure-share'
  const { throttledRow, rowSinceMs } = recent
  const isOnlyThrottling = throttledRow >= THROTTLES_IN_ROW && nowMs - rowSinceMs >= THROTTLED_FOR_MS
  return throttled > 0 && isOnlyThrottling ? 'only-throttles' : undefined
}
