// Every way Sluice says no. A refusal is a value, never an exception; what status and headers it becomes is http's business.
import type { Dimension } from './pool.ts'

/** Why somebody has no turn, and no place to wait for one. */
export type AdmissionCode =
  | 'cannot-fit'
  | 'queue-full'
  | 'client-queue-full'
  | 'wait-too-long'
  | 'wait-timeout'
  | 'no-pool-open'

/** What one without a turn is told: which quota is short, and when to come back. */
export interface Busy {
  short: Dimension
  retryAfterMs: number
}

/** Of one that would not wait for a pool to open: about as long as one is shut at first. */
export const WHEN_SHUT: Busy = { short: 'requests', retryAfterMs: 5_000 }

export type RefusalCode =
  | 'unknown-route'
  | 'unknown-model'
  | 'method-not-allowed'
  | 'body-too-large'
  | 'malformed-request'
  | 'request-loop'
  | 'address-limit'
  | 'no-credentials'
  | 'unknown-key'
  | 'expired-token'
  | 'incomplete-signature'
  | 'bad-signature'
  | 'too-many-failures'
  | 'identity-unavailable'
  | 'unconfirmed-key'
  | 'model-not-allowed'
  | 'client-limit'
  | AdmissionCode
  | 'unknown-pool'
  | 'overloaded'
  | 'upstream-unreachable'
  | 'upstream-cut'
  | 'upstream-timeout'
  | 'upstream-invalid'
  | 'internal'

export interface Refusal {
  code: RefusalCode
  message: string
  /** When to come back; set on refusals that waiting can cure. */
  retryAfterMs?: number
  /** Who was not let in; for the log alone. */
  from?: Stranger
}

/** What is known of somebody who was refused before it was known who it is. Nothing of it is secret. */
export interface Stranger {
  /** As seen through the proxies that are trusted. */
  address?: string
  /** That it named; anybody may have. */
  accessKeyId?: string
}

/** `mostTokens`: the largest tokens-per-minute quota of the model's pools. */
export function admissionRefusal(code: AdmissionCode, busy: Busy, tokens: number, mostTokens: number): Refusal {
  if (code === 'cannot-fit') return { code, message: cannotFit(tokens, mostTokens) }
  if (code === 'no-pool-open')
    return { code, message: 'Bedrock does not answer at present.', retryAfterMs: busy.retryAfterMs }
  // Bedrock's own words for the quota that is short.
  return { code, message: `Too many ${busy.short}, please wait before trying again.`, retryAfterMs: busy.retryAfterMs }
}

function cannotFit(tokens: number, mostTokens: number): string {
  return (
    `The request needs ${tokens} tokens (estimated input + maximum output), more than the largest ` +
    `tokens-per-minute quota of the model, ${mostTokens}. Lower its output cap or shorten its input.`
  )
}
