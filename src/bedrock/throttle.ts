// Is this reply a throttle, and of which quota? Bedrock's own words decide (repost.aws, bedrock-throttling-error).
import type { Dimension } from '../domain/pool.ts'
import { exceptionName } from '../wire/exceptions.ts'

/** Codes the AWS SDKs take for throttling. A 429 of another name (ModelNotReadyException) speaks of the model, not of a quota. */
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

/** A day's quota is no minute's: 'unknown', and so are the texts that name neither. */
export function throttledDimension(body: Buffer): Dimension | 'unknown' {
  const text = body.toString('latin1')
  if (/per day/i.test(text)) return 'unknown'
  if (/too many requests|request rate/i.test(text)) return 'requests'
  if (/too many tokens/i.test(text)) return 'tokens'
  return 'unknown'
}
