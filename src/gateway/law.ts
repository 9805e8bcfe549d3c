// What the control loop asks of the law that decides a model's paces and gates (domain/): a step, and how things stand.
import type { Dimension } from '../domain/pool.ts'
import type { PoolReport, Steering } from '../domain/poolReport.ts'

export const BREAKER_STATES = ['open', 'half-open', 'shut'] as const
/** `open`: to all. */
export type BreakerState = (typeof BREAKER_STATES)[number]

export interface DimensionStanding {
  /** The rate that has been learned, per minute. */
  pace: number
  /** 0 to 1: the part of it that was used over the last minutes. */
  use: number
}

export interface PoolStanding {
  pool: string
  breaker: BreakerState
  /** Absent: unlimited. */
  requests?: DimensionStanding
  tokens?: DimensionStanding
}

export type PoolEvent =
  | { kind: 'breaker'; pool: string; to: BreakerState; reason: string }
  | { kind: 'cut'; pool: string; dimension: Dimension; fromPerMinute: number; toPerMinute: number }

/** Pure: `state` is all it remembers, as text; '' before the first step. */
export interface Law {
  steer(model: string, state: string, pools: PoolReport[], nowMs: number): { steering: Steering; events: PoolEvent[] }
  standings(model: string, state: string, nowMs: number): PoolStanding[]
}
