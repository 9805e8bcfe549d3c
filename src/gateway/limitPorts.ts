// Where the use of clients' own limits, and of addresses', is counted, and how an answer tells of it.
import type { Denial, Levels, LimitSettings } from '../domain/limits/clientLimits.ts'

/** Where it is kept what each client has used of its own limits. */
export interface ClientLimits {
  /** Of all limits or of none: a refused call takes nothing. `id`: the call's, unlike any other's. Never rejects. */
  take(client: string, settings: LimitSettings, tokens: number, id: string): Admission | Promise<Admission>
  /** The clients that have limits from now on: what others used is forgotten. */
  keep(clients: ReadonlySet<string>): void
  close(): Promise<void>
}

export type Admission =
  /** `end` is called once, when the call has ended: what it reserved becomes what it was charged. */
  | { kind: 'allowed'; levels: Levels; end(chargedTokens: number): void }
  | { kind: 'refused'; denial: Denial; levels: Levels }

/** The values of the headers RateLimit-Policy and RateLimit; `level` is absent when nothing was asked, `policy` when it would be empty. */
export interface RateLimitNote {
  policy?: string
  level?: string
}

/** Where all gateways count what addresses do, for a package that brings the scripts it counts by. */
export interface AddressCounts {
  readonly isUp: boolean
  /**
   * As the package knows ioredis: `defineCommand(name, { lua })`, and from then on `name(key, …args, done)` with one key.
   * A call is answered or fails within the command timeout.
   */
  readonly commands: object
}
