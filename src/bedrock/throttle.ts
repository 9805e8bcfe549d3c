// Is this reply a throttle, and of which quota? (Names: the AWS SDKs' own list.)
import type { ThrottleSubject } from '../gateway/ports.ts'
import { exceptionName } from '../wire/exceptions.ts'

/** A 429 of another name (ModelNotReadyException) speaks of the model, not of a quota. */
const THROTTLE_NAMES = new Set([
  'Throttling',
  'ThrottlingException',
  'ThrottledException',
  'TooManyRequestsException',
  'RequestThrottledException',
  'RequestLimitExceeded',
  'LimitExceededException',
])

export function isThrottle(status: number, errorType: string | undefined): boolean {
  if (status !== 429 && status !== 400) return false
  return errorType === undefined ? status === 429 : THROTTLE_NAMES.has(exceptionName(errorType))
}

/**
 * By Bedrock's own words. "Too many tokens per day" is a spent day's quota, or one of zero; "Rate exceeded" and the like name
 * no quota.
 */
export function throttleSubject(body: Buffer): ThrottleSubject {
  const text = body.toString('latin1')
  if (/per day/i.test(text)) return 'day'
  if (/too many requests/i.test(text)) return 'requests'
  return /too many tokens/i.test(text) ? 'tokens' : 'unclear'
}
