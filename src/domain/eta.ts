// When a newcomer's turn is likely to come. Fair queueing serves it at its flow's share of what its class has really been
// getting (measured, never the configured sum), and never later than after all that its class has before it.
import { FLOOR } from './classes.ts'
import type { FairQueue, Standing } from './fairQueue.ts'
import { type MeterState, servedPerS } from './serviceMeter.ts'

export interface Expectation {
  p50Ms: number
  p90Ms: number
}

interface Newcomer {
  queue: FairQueue
  rank: number
  weight: number
  costS: number
  /** It is saved up for: its turn comes when its share would have served it, not when that would have begun to. */
  isLarge: boolean
  standing: Standing
}

/** Nine of ten waits in the simulations ended within this multiple of the likely one. */
export const P90_FACTOR = 2
const LONGEST_MS = 3_600_000
const MINUTE_MS = 60_000

export function expect(newcomer: Newcomer, meter: MeterState, nowMs: number): Expectation {
  const { queue, rank, weight, costS, standing } = newcomer
  const { ownS, users, userAheadS, clientAheadS, weights } = standing
  // Its turn comes when the virtual times have reached its start tag: a client's moves by 1 / users of what the client is
  // served, the class's by 1 / weights of what the class is.
  const itsOwnS = ownS + userAheadS + (newcomer.isLarge ? costS : 0)
  const byShareS = clientAheadS * weights + (itsOwnS * users * weights) / weight
  const aheadS = Math.min(queue.waitingCostS, byShareS) + costS
  const rate = Math.max(paceOf(meter, rank, nowMs), FLOOR[rank]!)
  const p50Ms = Math.min((aheadS / rate) * 1000, LONGEST_MS)
  return { p50Ms, p90Ms: Math.min(p50Ms * P90_FACTOR, LONGEST_MS) }
}

/** Seconds of quota a second: as served of late; nobody stands before high, nor before anybody while none was served. */
function paceOf(meter: MeterState, rank: number, nowMs: number): number {
  const measured = servedPerS(meter, rank, nowMs)
  if (measured !== undefined) return measured
  return rank === 0 || FLOOR.every((_, other) => servedPerS(meter, other, nowMs) === undefined) ? 1 : 0
}

/**
 * Sooner its turn cannot come: what its own user has in line (`ownCostS`) goes first, at the pace of the whole quota and at
 * what reservations really come to; only a burst's worth of it may pass at once.
 */
export function lowerBoundMs(ownCostS: number, chargedPart: number, burstShare: number): number {
  return Math.max(0, ownCostS * chargedPart * 1000 - burstShare * MINUTE_MS)
}
