// Via (RFC 9110 §7.6.3), by which a Sluice knows how many of its kind a request has come through. One whose `endpoint` led
// back to itself, or to another that leads back, would send it round until every connection is taken.

const OURS = '1.1 sluice'
/** One behind the other; more are a circle. */
export const MOST_SLUICES = 4
/** What the last of them says. */
export const LOOP_DETECTED = 508

/** Those that a request names in its flat headers, in whichever line. */
export function sluicesPassed(headers: string[]): number {
  let passed = 0
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]!.length !== 3 || headers[i]!.toLowerCase() !== 'via') continue
    for (const one of headers[i + 1]!.split(',')) if (one.trim() === OURS) passed += 1
  }
  return passed
}

/** What the next is told. Other proxies are nobody's business there. */
export function viaOnward(headers: string[]): string {
  return new Array(sluicesPassed(headers) + 1).fill(OURS).join(', ')
}
