// What somebody who asks is told: whether they may wait, how long it is likely to take, and which quota is short.
import { costS, isLarge } from './cost.ts'
import { type Expectation, expect, lowerBoundMs } from './eta.ts'
import type { Dimension } from './pool.ts'
import type { AdmissionCode, Busy } from './refusal.ts'
import type { Room } from './room.ts'
import { chargedPart, type MeterState } from './serviceMeter.ts'
import type { TicketAsk } from './ticket.ts'

interface MeteredRoom extends Room {
  meter: MeterState
  waitingCount: number
}

interface Bounds {
  burstShare: number
  maxWaiting: number
  maxWaitingPerClient: number
}

const SHORTEST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 300_000

/** Nobody of the same or a higher class waits. */
export function isFree(room: Room, rank: number): boolean {
  for (let above = 0; above <= rank; above += 1) if (room.queues[above]!.waiting > 0) return false
  return true
}

/** Why there is no place for it to wait; undefined when there is. */
export function mayNotWait(
  room: MeteredRoom,
  bounds: Bounds,
  ask: TicketAsk,
  nowMs: number,
): AdmissionCode | undefined {
  if (room.waitingCount >= bounds.maxWaiting) return 'queue-full'
  let ofClient = 0
  for (const queue of room.queues) ofClient += queue.clients.get(ask.client)?.waiting ?? 0
  if (ofClient >= bounds.maxWaitingPerClient) return 'client-queue-full'
  const { ownS } = room.queues[ask.rank]!.standing(ask)
  const leastMs = lowerBoundMs(ownS, chargedPart(room.meter), bounds.burstShare)
  return nowMs + leastMs > ask.deadlineMs ? 'wait-too-long' : undefined
}

export function busy(room: MeteredRoom, ask: TicketAsk, nowMs: number): Busy {
  const { p50Ms } = expectation(room, ask, nowMs)
  return { short: shortDimension(room), retryAfterMs: Math.min(Math.max(p50Ms, SHORTEST_RETRY_MS), LONGEST_RETRY_MS) }
}

export function expectation(room: MeteredRoom, ask: TicketAsk, nowMs: number): Expectation {
  const queue = room.queues[ask.rank]!
  const newcomer = {
    queue,
    rank: ask.rank,
    weight: ask.weight,
    costS: costS(room.supply, ask.tokens),
    isLarge: isLarge(room.supply, ask.tokens),
    standing: queue.standing(ask),
  }
  return expect(newcomer, room.meter, nowMs)
}

/** The dimension of which the pools together hold fewer seconds. */
function shortDimension({ pools, supply }: Room): Dimension {
  let requests = 0
  let tokens = 0
  for (const pool of pools) {
    requests += pool.requests?.state.level ?? 0
    tokens += pool.tokens?.state.level ?? 0
  }
  const requestsS = Number.isFinite(supply.requestsPerS) ? requests / supply.requestsPerS : Infinity
  const tokensS = Number.isFinite(supply.tokensPerS) ? tokens / supply.tokensPerS : Infinity
  return requestsS < tokensS ? 'requests' : 'tokens'
}
