// Refusals as Bedrock would say them: status, exception name, and whether it is worth coming back.
import type { Refusal, RefusalCode } from '../domain/refusal.ts'
import { errorTypeHeader, exceptionBody } from '../wire/exceptions.ts'
import type { Operation } from '../wire/operations.ts'
import { LOOP_DETECTED } from '../wire/via.ts'

interface Shape {
  status: number
  exception: string
}

/** Statuses decide what SDKs retry: 429, 502, 503 and 504 are, 400, 404, 405, 413 and 508 are not. docs/reference.md mirrors this table. */
export const REFUSAL_SHAPES: Record<RefusalCode, Shape> = {
  'unknown-route': { status: 404, exception: 'UnknownOperationException' },
  'unknown-model': { status: 404, exception: 'ResourceNotFoundException' },
  'method-not-allowed': { status: 405, exception: 'UnknownOperationException' },
  'body-too-large': { status: 413, exception: 'ValidationException' },
  'malformed-request': { status: 400, exception: 'ValidationException' },
  'request-loop': { status: LOOP_DETECTED, exception: 'InternalServerException' },
  'address-limit': { status: 429, exception: 'ThrottlingException' },
  'no-credentials': { status: 403, exception: 'MissingAuthenticationTokenException' },
  'unknown-key': { status: 403, exception: 'UnrecognizedClientException' },
  'expired-token': { status: 403, exception: 'ExpiredTokenException' },
  'incomplete-signature': { status: 403, exception: 'IncompleteSignatureException' },
  'bad-signature': { status: 403, exception: 'InvalidSignatureException' },
  'too-many-failures': { status: 429, exception: 'ThrottlingException' },
  'unconfirmed-key': { status: 503, exception: 'ServiceUnavailableException' },
  'identity-unavailable': { status: 503, exception: 'ServiceUnavailableException' },
  'model-not-allowed': { status: 403, exception: 'AccessDeniedException' },
  'client-limit': { status: 429, exception: 'ThrottlingException' },
  'cannot-fit': { status: 400, exception: 'ServiceQuotaExceededException' },
  'queue-full': { status: 429, exception: 'ThrottlingException' },
  'client-queue-full': { status: 429, exception: 'ThrottlingException' },
  'wait-too-long': { status: 429, exception: 'ThrottlingException' },
  'wait-timeout': { status: 429, exception: 'ThrottlingException' },
  'no-pool-open': { status: 503, exception: 'ServiceUnavailableException' },
  overloaded: { status: 503, exception: 'ServiceUnavailableException' },
  'unknown-pool': { status: 503, exception: 'ServiceUnavailableException' },
  'upstream-unreachable': { status: 502, exception: 'ServiceUnavailableException' },
  'upstream-cut': { status: 502, exception: 'ServiceUnavailableException' },
  'upstream-timeout': { status: 504, exception: 'ModelTimeoutException' },
  'upstream-invalid': { status: 502, exception: 'ServiceUnavailableException' },
  internal: { status: 500, exception: 'InternalServerException' },
}

export interface RefusalReply {
  status: number
  /** Flat name, value, … */
  headers: string[]
  body: string
}

export function refusalReply(refusal: Refusal, dialect: Operation['dialect'], requestId: string): RefusalReply {
  const { status, exception } = REFUSAL_SHAPES[refusal.code]
  const body = exceptionBody(dialect, status, exception, refusal.message)
  const headers = [
    'content-type',
    'application/json',
    'content-length',
    String(Buffer.byteLength(body)),
    'x-amzn-requestid',
    requestId,
    'x-amzn-errortype',
    errorTypeHeader(exception),
    'x-sluice-refusal',
    refusal.code,
  ]
  // OpenAI's and Anthropic's SDKs retry by this header before they look at the status.
  if (status === 400 || status === LOOP_DETECTED) headers.push('x-should-retry', 'false')
  if (refusal.retryAfterMs !== undefined) headers.push(...retryHints(refusal.retryAfterMs))
  return { status, headers, body }
}

/** The three ways SDKs read it: seconds (RFC 9110), milliseconds (AWS), milliseconds (OpenAI, Anthropic). */
export function retryHints(retryAfterMs: number): string[] {
  const ms = String(Math.ceil(retryAfterMs))
  return ['retry-after', String(Math.ceil(retryAfterMs / 1000)), 'x-amz-retry-after', ms, 'retry-after-ms', ms]
}
