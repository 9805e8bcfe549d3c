// Via (RFC 9110 §7.6.3), by which a Sluice knows how many of its kind a request has come through. One whose `endpoint` led
// back to itself, or to another that leads back, would send it round until every connection is taken.

const OURS = '1.1 sluice'
/** One behind the other; more are a circle. */
export const MOST_SLUICES = 4

/** Those that a request's `via` names; undefined: it has none. */
export function sluicesPassed(via: string | undefined): number {
  return via === undefined ? 0 : via.split(',').filter(one => one.trim() === OURS).length
}

/** What the next is told. Other proxies are nobody's business there. */
export function viaOnward(via: string | undefined): string {
  return new Array(sluicesPassed(via) + 1).fill(OURS).join(', ')
}
