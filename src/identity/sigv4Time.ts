// When a request was signed, and whether that is now: what is five minutes off is refused, so that a request overheard cannot
// be sent again later.
import type { Refusal } from '../domain/refusal.ts'
import { badSignature, incomplete, quoted } from './sigv4Authorization.ts'
import type { HeaderValues } from './sigv4Canonical.ts'

export interface SigningTime {
  /** 20150830T123600Z: what was signed. */
  timestamp: string
  ms: number
}

/** AWS's own. */
const LARGEST_SKEW_MS = 5 * 60_000
const BASIC_FORMAT = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/
/** Of RFC 9110 the one format that may be sent. */
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/

/** From x-amz-date, or date where there is none. */
export function timeOf(headers: HeaderValues, signedHeaders: string[]): SigningTime | Refusal {
  const name = headers.has('x-amz-date') ? 'x-amz-date' : 'date'
  const text = headers.get(name)?.[0]?.trim()
  if (text === undefined)
    return incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
  if (!signedHeaders.includes(name)) return incomplete(`${name}: expected among the SignedHeaders, and is not.`)
  const isBasic = BASIC_FORMAT.test(text)
  const readable = isBasic ? text.replace(BASIC_FORMAT, '$1-$2-$3T$4:$5:$6Z') : text
  const ms = isBasic || HTTP_DATE.test(text) ? Date.parse(readable) : Number.NaN
  if (Number.isNaN(ms)) return incomplete(`Date must be in ISO-8601 'basic format'. Got ${quoted(text)}.`)
  return { timestamp: isBasic ? text : basicFormat(ms), ms }
}

/** `scopeDate`: the day that the signing key is for. */
export function faultOfTime({ timestamp, ms }: SigningTime, scopeDate: string, nowMs: number): Refusal | undefined {
  const day = timestamp.slice(0, 8)
  if (scopeDate !== day)
    return badSignature(
      'Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: ' +
        `${quoted(scopeDate)} != ${quoted(day)}, from ${quoted(timestamp)}.`,
    )
  if (Math.abs(ms - nowMs) <= LARGEST_SKEW_MS) return undefined
  const now = basicFormat(nowMs)
  return badSignature(
    ms < nowMs
      ? `Signature expired: ${timestamp} is now earlier than ${basicFormat(nowMs - LARGEST_SKEW_MS)} (${now} - 5 min.)`
      : `Signature not yet current: ${timestamp} is still later than ${basicFormat(nowMs + LARGEST_SKEW_MS)} (${now} + 5 min.)`,
  )
}

function basicFormat(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '')
}
