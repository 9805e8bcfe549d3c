// Who asks: what a request presents of itself, and who that turns out to be.
import type { IncomingHttpHeaders } from 'node:http'
import type { Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'

/** The one credential by which a request is judged, whatever else it carries. */
export type Shown =
  /** Another with each request; known again by the id of its key, if it names one. */
  { kind: 'signature'; accessKeyId: string | undefined } | { kind: 'secret'; text: string }

export interface Presented {
  method: string
  /** Path and query as they came. */
  rawUrl: string
  /** `host` or `:authority` among them. */
  headers: IncomingHttpHeaders
  /** Flat name, value, … as they came, repetitions too. */
  rawHeaders: string[]
  /** Where it comes from, seen through the proxies that are trusted. */
  address: string | undefined
  /** See shownBy. Undefined: none. */
  shown: Shown | undefined
}

export interface Known {
  kind: 'known'
  client: string
  /** Who it is while the request names nobody. */
  user: string
  /** The credential itself says who the user is: a request that names another is not believed. */
  isUserProven?: boolean
  /** Its default class; absent: the client's. */
  priority?: Priority
  /** The highest class it may ask for; absent: the client's. */
  maxPriority?: Priority
  /** What only the body can show, once it has been read: a refusal, or undefined when it is as promised. */
  checkBody?: (body: Buffer) => Refusal | undefined
}

/** Nobody, by a credential that is missing, unknown, wrong or out of date. */
export interface Denied {
  kind: 'denied'
  refusal: Refusal
}

export type Who = Known | Denied

export interface Identities {
  /** Answers at once where it can: a request must not wait a turn of the event loop for nothing. */
  whoIs(presented: Presented): Who | Promise<Who>
}

export function denied(refusal: Refusal): Denied {
  return { kind: 'denied', refusal }
}

/** In AWS's own words. */
export const UNKNOWN_KEY = denied({
  code: 'unknown-key',
  message: 'The security token included in the request is invalid.',
})
