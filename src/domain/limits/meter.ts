// What one limit of one client has used, by one of five algorithms. All of them count in whole numbers (time in ms, amounts
// in requests or tokens, levels in 1/60000 of those), which doubles hold exactly: there is no rounding to drift by, and the
// scripts in Redis come to the same figures.
//
// What a call reserved and did not use is given back where it was taken, as far as that still counts; what it was charged
// beyond its reservation is taken at the time that becomes known. So a meter never shows less than if every call had taken
// its charge at once, and, as long as charges stay within reservations, no more is charged than the algorithm guarantees.

export const ALGORITHMS = [
  'token-bucket',
  'leaky-bucket',
  'sliding-window-counter',
  'sliding-window-log',
  'fixed-window',
] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** The window of every limit. */
export const WINDOW_MS = 60_000
/** A clock that steps back by more than this has been replaced; by less, time stands still until it has caught up. */
const CLOCK_STEP_MS = 2_000

/** Limits, amounts and times are whole numbers; an amount is at most the limit. */
export interface Meter {
  /** The time it was last brought up to. */
  readonly asOfMs: number
  /** Brings it up to `nowMs`, and under a limit that may have changed. The others below are as of then. */
  advance(limit: number, nowMs: number): void
  /** Until the amount fits, if nothing else is taken; 0: it does now. */
  msUntil(limit: number, amount: number): number
  /** Until all of the limit is there again, if nothing else is taken. */
  resetMs(limit: number): number
  /** Takes it whether it fits or not. Returns the call's stamp, for `settle`. */
  take(limit: number, amount: number): number
  /** The call has ended: what it reserved becomes what it was charged. Once for each call that took anything. */
  settle(limit: number, stamp: number, reserved: number, charged: number): void
  /** What would pass at this moment, at least. */
  remaining(limit: number): number
}

/**
 * The time that holds: never earlier than `asOfMs`, unless the clock was replaced. Nothing that counts is forgotten then: the
 * algorithms go on as if no time had passed.
 */
export function heldMs(asOfMs: number, nowMs: number): number {
  return nowMs < asOfMs - CLOCK_STEP_MS ? nowMs : Math.max(asOfMs, nowMs)
}
