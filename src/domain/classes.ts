// The three priority classes: strict order, plus headroom, plus floors. Normal and low may not take the last of a burst, so
// high finds water at once; floors keep them alive under a flood of high. Ageing instead would destroy priority.

/** The part of a burst, of requests and tokens alike, that each class leaves for those above it, … */
const HEADROOM = [0, 0.5, 0.7] as const
/** … while one of them has asked for anything within this time: nobody is served by water kept for nobody. */
const ACTIVE_MS = 60_000
/** The part of all service that each class below the first is owed, whatever waits above it. */
export const FLOOR = [0, 0.1, 0.05] as const
/** Seconds of quota that floor credit may save up, so that a class long absent has no hoard. */
const MAX_CREDIT_S = 6
/** For how long what a class had beyond its floor counts against it. */
const MEMORY_S = 120

/** `askedMs`: when each class last asked for anything. */
export function headroom(askedMs: number[], rank: number, nowMs: number): number {
  for (let above = 0; above < rank; above += 1) if (askedMs[above]! + ACTIVE_MS > nowMs) return HEADROOM[rank]!
  return 0
}

/** Every grant earns each class its floor's part of it and costs the class that got it; in place. */
export function earnFloors(credit: number[], servedRank: number, costS: number): void {
  credit[servedRank] = Math.max(-MEMORY_S * FLOOR[servedRank]!, credit[servedRank]! - costS)
  for (let rank = 1; rank < FLOOR.length; rank += 1)
    credit[rank] = Math.min(MAX_CREDIT_S, credit[rank]! + FLOOR[rank]! * costS)
}

/** Whether the class may have a turn of its own now, for a head that costs `costS`. */
export function floorAllows(credit: number[], rank: number, costS: number): boolean {
  return FLOOR[rank]! > 0 && credit[rank]! >= Math.min(costS, MAX_CREDIT_S)
}
