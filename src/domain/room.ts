// What a waiting room is told, what it is made of, and what it says to one who asks.
import type { Supply } from './cost.ts'
import type { FairQueue } from './fairQueue.ts'
import type { Pool, PoolQuota } from './pool.ts'
import type { AdmissionCode, Busy } from './refusal.ts'

export interface RoomSettings {
  pools: ({ name: string } & PoolQuota)[]
  burstShare: number
  maxWaiting: number
  maxWaitingPerClient: number
  /** Consecutive failures that shut a pool at once; absent: none do. */
  failures?: number | undefined
}

/** What is to change of one pool. */
export interface PoolChange {
  pool: string
  /** What its quota is believed to be: its buckets refill at that. Costs and bounds stay those of the configured one. */
  believed?: PoolQuota
  /** Who may pass: see Pool.gate. */
  gate?: number | undefined
}

export type Entry =
  | { kind: 'granted'; pool: string }
  | { kind: 'waiting'; etaMs: number }
  | { kind: 'refused'; code: AdmissionCode; busy: Busy }

export interface Room {
  pools: Pool[]
  /** By class, high first. */
  queues: FairQueue[]
  credit: number[]
  /** When each class last asked for anything. */
  askedMs: number[]
  supply: Supply
  /** Changes whenever pools or quotas do: then every large ticket chooses its pool anew. */
  epoch: number
}

/** The largest request that any of the pools could ever serve. */
export function mostTokens(pools: PoolQuota[]): number {
  return Math.max(...pools.map(pool => pool.tokensPerMinute ?? Number.POSITIVE_INFINITY))
}
