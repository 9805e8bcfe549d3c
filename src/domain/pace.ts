// The adaptive law: what rate a quota really allows, found from nothing but "was anything accepted?", "was anything
// throttled?" and "was our own bucket the limit?". Additive increase, multiplicative decrease (Chiu and Jain, 1989), made fit
// for a quota: one cut a congestion (episode.ts); a stall measures what a minute allows; growth only while our bucket is the
// limit, the faster the longer it stays quiet; and a back-off while nothing is accepted that leaves the learned rate alone, so that the first acceptance brings
// it back whole. One instance a pool and dimension; plain data, so that it can be handed from gateway to gateway as JSON.
import { begun, type Episode, type Feedback, hear, noEpisode } from './episode.ts'

/** Rates are amounts (requests or tokens) per minute. */
export interface PaceState {
  kind: 'adaptive'
  quotaPerMinute: number
  /** Learned. */
  ratePerMinute: number
  /** How long it has grown without a throttle, less the time in which it was not the limit. */
  quietS: number
  /** Seconds of growth that acceptances have paid for and that were not used yet. */
  credit: number
  /** Throttles in a row, with nothing accepted between. */
  row: number
  episode: Episode
  cuts: number
  /** Amounts accepted of late, by slots of SLOT_MS, the youngest first. */
  recent: number[]
  slot: number
  /** When our bucket held somebody back last. */
  limitedAtMs: number
  /** Accepted in the minute before the last cut; 0: our bucket was not the limit then, so the minute shows our demand alone. */
  minuteAtCut: number
  /** Whether throttles have gone on, with nothing accepted, for longer than a bucket that refills would give them. */
  isStalled: boolean
}

const CUT = 0.85
/**
 * A bucket of a few seconds lets something through by then. A throttle that still comes is that of a minute's window which is
 * used up, and then what was accepted in the minute before is the quota …
 */
const STALL_MS = 8_000
/** … unless Bedrock was short of capacity: so a stall leaves half of the rate at least. */
const MOST_MEASURED_CUT = 0.5
/** A bucket that held nobody back for longer was not the limit. */
const LIMITED_MS = 10_000
const SLOT_MS = 5_000
const SLOTS = 12
const GROWTH_PER_MINUTE = 0.03
/** Growth doubles for each such time of quiet. */
const DOUBLING_S = 90
/** Growth at full speed takes so many acceptances a second: a small quota says little in a second. */
const ACCEPTED_PER_S = 2
/** No more growth may be saved up: what a step that came late can make of it is bounded by this too. */
const MOST_CREDIT_S = 1
const BACK_OFF = 0.6
const LEAST_BACK_OFF = 0.01
/** Beyond this many the back-off is at its least. */
const LONGEST_ROW = 12
/** Growth has passed every bound by then; without an end to it, days of quiet would make it infinite. */
const MOST_QUIET_S = 600
const LEAST_OF_QUOTA = 0.01
const MOST_OF_QUOTA = 100

export function startPace(quotaPerMinute: number): PaceState {
  return {
    kind: 'adaptive',
    quotaPerMinute,
    ratePerMinute: quotaPerMinute,
    quietS: 0,
    credit: 0,
    row: 0,
    episode: noEpisode(),
    cuts: 0,
    recent: [0],
    slot: 0,
    limitedAtMs: 0,
    minuteAtCut: 0,
    isStalled: false,
  }
}

export function stepPace(before: PaceState, feedback: Feedback): PaceState {
  const { hearing, episode } = hear(before.episode, feedback)
  const { accepted, throttled, limited, elapsedMs, nowMs } = feedback
  const row = accepted > 0 ? 0 : Math.min(LONGEST_ROW, before.row + throttled)
  const ratePerMinute = bounded(before, before.ratePerMinute)
  const limitedAtMs = limited ? nowMs : Math.min(before.limitedAtMs, nowMs)
  const law = { ...before, ...noted(before, feedback), limitedAtMs, episode, row, ratePerMinute }
  if (accepted > 0 && before.isStalled) {
    const part = shownPart(law)
    if (part < CUT) return cut({ ...law, episode: begun(nowMs) }, part, nowMs)
    law.isStalled = false
  }
  if (hearing === 'cut') return cut(law, CUT, nowMs)
  if (hearing === 'same-congestion') return { ...law, isStalled: row > 0 && nowMs >= episode.deafUntilMs + STALL_MS }
  if (hearing !== 'calm') return law
  if (limited && row === 0) return grown(law, feedback)
  return { ...law, quietS: Math.max(0, law.quietS - elapsedMs / 1000) }
}

function cut(law: PaceState, factor: number, nowMs: number): PaceState {
  const wasLimit = nowMs - law.limitedAtMs <= LIMITED_MS
  const minuteAtCut = wasLimit ? law.recent.reduce((total, amount) => total + amount, 0) : 0
  const ratePerMinute = bounded(law, factor * law.ratePerMinute)
  return { ...law, ratePerMinute, minuteAtCut, isStalled: false, quietS: 0, cuts: law.cuts + 1 }
}

/** A stall is over: what part of the learned rate the minute before it has shown to be there. */
function shownPart({ minuteAtCut, ratePerMinute }: PaceState): number {
  return minuteAtCut > 0 ? Math.max(MOST_MEASURED_CUT, minuteAtCut / ratePerMinute) : 1
}

/** The accepted amounts with this step's. */
function noted({ recent, slot }: PaceState, { amount, nowMs }: Feedback): { recent: number[]; slot: number } {
  const now = Math.floor(nowMs / SLOT_MS)
  // A clock that stepped back goes on in the slot that was the youngest.
  const passed = Math.min(SLOTS, Math.max(0, now - slot))
  const slots = [...new Array<number>(passed).fill(0), ...recent].slice(0, SLOTS)
  slots[0] = Math.max(0, (slots[0] ?? 0) + amount)
  return { recent: slots, slot: Math.max(now, slot) }
}

/** What to admit by: the learned rate, less the back-off. */
export function pacedPerMinute({ ratePerMinute, row }: PaceState): number {
  return ratePerMinute * Math.max(LEAST_BACK_OFF, BACK_OFF ** Math.max(0, row - 1))
}

function grown(law: PaceState, { accepted, elapsedMs }: Feedback): PaceState {
  const credit = Math.min(MOST_CREDIT_S, law.credit + accepted / ACCEPTED_PER_S)
  const seconds = Math.min(elapsedMs / 1000, credit)
  const quietS = Math.min(MOST_QUIET_S, law.quietS)
  const growth = (GROWTH_PER_MINUTE / 60) * 2 ** (quietS / DOUBLING_S) * seconds
  return {
    ...law,
    ratePerMinute: bounded(law, law.ratePerMinute * (1 + growth)),
    quietS: quietS + seconds,
    credit: credit - seconds,
  }
}

function bounded({ quotaPerMinute }: PaceState, ratePerMinute: number): number {
  return Math.min(MOST_OF_QUOTA * quotaPerMinute, Math.max(LEAST_OF_QUOTA * quotaPerMinute, ratePerMinute))
}
