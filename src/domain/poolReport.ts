// What the gateways tell the control loop of a model's pools, and what it decides. The law that turns one into the other is
// steering.ts; how reports add up across replicas is the ledger's.
import type { PoolQuota } from './pool.ts'

/** A send this old that was not throttled counts as accepted: answers take seconds, throttles come at once. */
export const ACCEPTED_AFTER_MS = 300

/** What became of the calls sent to one pool since the last report. Each is a count; they add up. */
export interface PoolCounts {
  sent: number
  /** Sends older than ACCEPTED_AFTER_MS, or answered sooner, that were not throttled. */
  accepted: number
  throttledRequests: number
  throttledTokens: number
  /** Throttles that name neither dimension. */
  throttledUnclear: number
  /** Answered, be it with an error of the client's own (4xx). */
  succeeded: number
  /** 5xx, time-outs, connection errors, streams cut before their first byte. */
  failed: number
  /** Turns that told nothing: not used, or given up by the client before a word of Bedrock's. */
  unheard: number
  /** Quota tokens: reserved at the send, corrected (also below 0) at the settlement. */
  tokens: number
}

export function noCounts(): PoolCounts {
  return {
    sent: 0,
    accepted: 0,
    throttledRequests: 0,
    throttledTokens: 0,
    throttledUnclear: 0,
    succeeded: 0,
    failed: 0,
    unheard: 0,
    tokens: 0,
  }
}

/** One gateway's report on one pool. */
export interface PoolNews {
  pool: string
  counts: PoolCounts
  /**
   * Failures in a row since the last report, which add to those of all gateways: the one that began this gateway's row, and
   * those of calls sent since. A call sent since that came out well ends the row.
   */
  failedInRow: number
  /**
   * How long ago the youngest call was sent that came out well since the last report: it was answered, or has not failed for
   * ACCEPTED_AFTER_MS. Absent: none has. It ends the row if it was sent after that began.
   */
  youngestGoodMs?: number
}

/** What whoever runs the step is told of a pool: of all gateways, since the last step. */
export interface PoolReport {
  pool: string
  counts: PoolCounts
  /** Consecutive failures, of all gateways. */
  failedInRow: number
  /** See Pool.gate. */
  gate: number
  /** Whether a head was blocked by this bucket since the last step. */
  limited: { requests: boolean; tokens: boolean }
  /** Level over burst of each bucket, what is saved in the purse included, at most 1, below 0 in debt; 1: unlimited. */
  fill: { requests: number; tokens: number }
}

/** What a report brings. */
export interface Report {
  /** The ledger's own time. */
  nowMs: number
  /** The last step's state, as text; '' before the first. */
  state: string
  gates: { pool: string; gate: number }[]
  /** Present: this gateway holds the lease and is to run the step. */
  pools?: PoolReport[]
}

/** What a step decides. Ignored when the lease has gone to another gateway meanwhile. */
export interface Steering {
  state: string
  pools: {
    pool: string
    believed: PoolQuota
    /** Only when it changes: probes left count down by themselves. */
    gate?: number
    /** Consecutive failures that shut it at once, from now on; until told, as many as are configured. */
    failures?: number
  }[]
}

/** The lease: whoever reports while nobody holds it runs the steps until it has not reported for so long. */
export const LEASE_MS = 1_000
/** Characters of a step's state, at most. */
export const MOST_STATE = 262_144
/** How often a gateway reports while there is anything to say or to decide. */
export const STEP_MS = 250
