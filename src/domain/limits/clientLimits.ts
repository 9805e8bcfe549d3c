// A client's own limits and what one who asks is told of them.
import type { Algorithm } from './meter.ts'

/** Whole numbers. Absent: unlimited. */
export interface LimitSettings {
  algorithm: Algorithm
  requestsPerMinute?: number | undefined
  tokensPerMinute?: number | undefined
  /** Calls in flight. */
  concurrent?: number | undefined
  /** Names of the models it may ask for. */
  models?: string[] | undefined
}

export type LimitKind = 'requests' | 'tokens' | 'concurrent'

/** How a client stands with one limit after a call was decided. */
export interface Level {
  /** What would pass at once, at least. */
  remaining: number
  /** Until all of the limit is there again, if nothing more is taken. */
  resetMs: number
}

export interface Levels {
  requests?: Level
  tokens?: Level
  concurrent?: { remaining: number }
}

export interface Denial {
  /** What takes longest to fit. */
  over: LimitKind
  /** Infinity: it never will. */
  retryAfterMs: number
}

/** Nobody knows when a call in flight will end. */
export const CONCURRENT_RETRY_MS = 1_000
/** No debt that one call leaves is longer: a broken usage figure must not shut a client out for years. */
const MOST_DEBT_MINUTES = 10

/** Tokens are counted whole: part of one is one. */
export function wholeTokens(tokens: number): number {
  return tokens > 0 ? Math.min(Number.MAX_SAFE_INTEGER, Math.ceil(tokens)) : 0
}

/** What a call that reserved so much is charged in the end. */
export function chargeOf(chargedTokens: number, reservedTokens: number, tokensPerMinute: number): number {
  return Math.min(wholeTokens(chargedTokens), reservedTokens + MOST_DEBT_MINUTES * tokensPerMinute)
}
