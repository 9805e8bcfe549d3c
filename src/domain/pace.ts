// The adaptive law: what rate a quota really allows, found from nothing but "was anything accepted?", "was anything
// throttled?" and "was our own bucket the limit?". Additive increase, multiplicative decrease (Chiu and Jain, 1989), made fit
// for a quota: one cut a congestion (episode.ts); growth only while our bucket is the limit, the faster the longer it stays
// quiet; and a back-off while nothing is accepted that leaves the learned rate alone, so that the first acceptance brings
// it back whole. One instance a pool and dimension; plain data, so that it can be handed from gateway to gateway as JSON.
import { type Episode, type Feedback, hear, noEpisode } from './episode.ts'

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
}

const CUT = 0.85
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
  }
}

export function stepPace(law: PaceState, feedback: Feedback): PaceState {
  const { hearing, episode } = hear(law.episode, feedback)
  const row = feedback.accepted > 0 ? 0 : Math.min(LONGEST_ROW, law.row + feedback.throttled)
  const next = { ...law, episode, row, ratePerMinute: bounded(law, law.ratePerMinute) }
  if (hearing === 'cut')
    return { ...next, ratePerMinute: bounded(law, CUT * law.ratePerMinute), quietS: 0, cuts: law.cuts + 1 }
  if (hearing !== 'calm') return next
  if (feedback.limited && row === 0) return grown(next, feedback)
  return { ...next, quietS: Math.max(0, law.quietS - feedback.elapsedMs / 1000) }
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
