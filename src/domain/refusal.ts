// Every way Sluice says no. A refusal is a value, never an exception; what status and headers it becomes is http's business.

export type RefusalCode =
  | 'unknown-route'
  | 'unknown-model'
  | 'method-not-allowed'
  | 'body-too-large'
  | 'malformed-request'
  | 'cannot-fit'
  | 'queue-full'
  | 'wait-timeout'
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
}
