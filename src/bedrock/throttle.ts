// Is this reply a throttle that waiting a moment can cure? (Names: the AWS SDKs' own list.)
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

/** "Too many tokens per day": a spent day's quota, or one of zero. No wait of ours would help. */
export function isDayThrottle(body: Buffer): boolean {
  return /per day/i.test(body.toString('latin1'))
}
