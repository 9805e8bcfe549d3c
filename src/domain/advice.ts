// What an operator could do better, in plain sentences, from what the waiting room has seen of late.
import type { OutputCapSettings } from './model.ts'
import type { RoomStatus } from './roomStatus.ts'

/** Reservations so many times the charges hold back more than they protect. */
const WASTEFUL = 3
/** A smaller part of a minute's quota reserved is too little to judge by. */
const ENOUGH_SEEN = 0.1

const REMEDIES: Record<OutputCapSettings['mode'], string> = {
  off: 'Set outputCap.mode to learned: a request that sets no cap then gets one that fits.',
  fixed: 'Set outputCap.tokens lower, or outputCap.mode to learned.',
  learned: "What is left is the clients' own caps: ask for smaller ones where they are set.",
}

/** Empty: nothing to say. */
export function adviceOn(mode: OutputCapSettings['mode'], status: Pick<RoomStatus, 'settled' | 'pools'>): string[] {
  const { reservedTokens, chargedTokens } = status.settled
  const perMinute = status.pools.reduce((sum, { tokens }) => sum + (tokens?.quotaPerMinute ?? Infinity), 0)
  if (reservedTokens < ENOUGH_SEEN * perMinute || reservedTokens <= WASTEFUL * chargedTokens) return []
  const times = Math.round(reservedTokens / Math.max(1, chargedTokens))
  return [
    `Of late requests reserved ${times} times the tokens they were charged: output caps are far larger than outputs. ${REMEDIES[mode]}`,
  ]
}
