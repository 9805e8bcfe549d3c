// How fast a class has really been served lately, and what part of reservations really was charged: what an ETA is made of.
// Two windows of a minute, the current and the one before; plain sums, so that every replica and the ledger in Redis
// come to the same figure to the last digit.

const WINDOW_MS = 60_000

export interface MeterState {
  startMs: number
  /** Whether there is a window before the current one. */
  hasPrevious: boolean
  /** Seconds of quota served, by class, in the current window and in the one before. */
  current: number[]
  previous: number[]
  /** Tokens of settled reservations, and what was charged for them. */
  reserved: number
  charged: number
}

export function newMeter(nowMs: number): MeterState {
  return { startMs: nowMs, hasPrevious: false, current: [0, 0, 0], previous: [0, 0, 0], reserved: 0, charged: 0 }
}

/** Brings the windows up to `nowMs`, in place. */
export function roll(meter: MeterState, nowMs: number): void {
  const elapsedMs = nowMs - meter.startMs
  if (elapsedMs < 0 || elapsedMs >= 2 * WINDOW_MS) {
    meter.startMs = nowMs
    meter.hasPrevious = false
    meter.previous = [0, 0, 0]
    meter.current = [0, 0, 0]
  } else if (elapsedMs >= WINDOW_MS) {
    meter.startMs += WINDOW_MS
    meter.hasPrevious = true
    meter.previous = meter.current
    meter.current = [0, 0, 0]
    meter.reserved /= 2
    meter.charged /= 2
  }
}

/** Seconds of quota a second; call after `roll`. Undefined when the class was not served at all. */
export function servedPerS(meter: MeterState, rank: number, nowMs: number): number | undefined {
  const served = meter.current[rank]! + (meter.hasPrevious ? meter.previous[rank]! : 0)
  if (served <= 0) return undefined
  const spanS = ((meter.hasPrevious ? WINDOW_MS : 0) + nowMs - meter.startMs) / 1000
  return served / Math.max(1, spanS)
}

/** The part of a reservation that is charged in the end, at most 1; 1 while nothing is known. */
export function chargedPart(meter: MeterState): number {
  return meter.reserved > 0 ? Math.min(1, meter.charged / meter.reserved) : 1
}
