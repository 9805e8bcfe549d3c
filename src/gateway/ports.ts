// What the gateway needs from the world, in its own words. The adapters live in memory/, redis/, bedrock/, http/ and telemetry/.
import type { Usage } from '../domain/charge.ts'
import type { Denial, Levels, LimitSettings } from '../domain/limits/clientLimits.ts'
import type { Flow, ModelSettings, PoolSettings } from '../domain/model.ts'
import type { PoolQuota } from '../domain/pool.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { RoomStatus } from '../domain/roomStatus.ts'
import type { Demand } from '../wire/demand.ts'
import type { Operation } from '../wire/operations.ts'
import type { Presence } from './presence.ts'

/** One Bedrock call, stripped of HTTP. */
export interface Invocation {
  id: string
  /** Which model's quotas it draws on; absent for calls that Bedrock does not meter and that name no model. */
  model?: ModelSettings
  /** Absent: not metered, so it is sent at once. */
  demand?: Demand
  flow: Flow
  /** How long it may wait for its turn, in all. */
  maxWaitMs: number
  /** What the client's SDK calls all its attempts at one call: a retry of its own regains its place. */
  sdkInvocationId?: string
  /** It would rather be refused at once than wait for a pool to open. */
  refuseWhenShut?: boolean
  request: UpstreamRequest
  presence: Presence
}

/** The request as it came, less what was meant for Sluice. */
export interface UpstreamRequest {
  operation: Operation
  /** The model's id as the client spelt it, decoded. */
  modelId?: string
  rawUrl: string
  /** Flat name, value, name, value, … in the order they came. */
  headers: string[]
  body: Buffer
}

// ---- ledger ----

export interface AdmissionSettings {
  /** The part of a minute's quota that may pass at once. */
  burst: number
  maxWaiting: number
  maxWaitingPerClient: number
}

export interface Ask {
  ticketId: string
  model: string
  flow: Flow
  /** Of the flow's client. */
  weight: number
  /** Estimated input + max output. */
  tokens: number
  deadlineMs: number
  sdkInvocationId?: string
  refuseWhenShut?: boolean
}

export type Decision =
  | { kind: 'granted'; pool: string }
  | { kind: 'refused'; refusal: Refusal }
  /** The client left while waiting. */
  | { kind: 'left' }

/**
 * Where pools, waiting rooms and reservations live. Every granted ticket is ended by exactly one `settle` or `requeue`;
 * ending it twice changes nothing.
 */
export interface Ledger {
  /** Resolves when it is this request's turn, or never will be. Never rejects. */
  acquire(ask: Ask, presence: Presence): Promise<Decision>
  /** The granted pool threw it back: wait again, ahead of newcomers, until the same deadline. */
  requeue(ask: Ask, presence: Presence): Promise<Decision>
  /** `chargedTokens`: what Bedrock really charged. */
  settle(ask: Ask, chargedTokens: number): void
  /** New quotas, pools, bounds and models; levels, waiters and reservations stay, those of models now gone too. */
  configure(models: ModelSettings[], admission: AdmissionSettings): void
  status(): Promise<ModelStatus[]>
  /** How the ledger itself is: what it is made of, and why it is degraded if it is. */
  health(): LedgerHealth
}

/** One model's part of a ledger. */
export interface RoomLedger {
  acquire(ask: Ask, presence: Presence): Promise<Outcome>
  requeue(ask: Ask, presence: Presence): Promise<Outcome>
  /** False when it holds no such reservation. */
  settle(ticketId: string, chargedTokens: number): boolean
  configure(settings: RoomSettings): void
  status(): Promise<RoomStatus>
}

/** Where the gateways put together what they saw of a model's pools, and where one of them at a time decides for all. */
export interface Board {
  /** Adds this gateway's news of its pools; nothing new is news too: it keeps the lease and asks how things stand. */
  report(model: string, news: PoolNews[]): Promise<Report>
  steer(model: string, steering: Steering): Promise<void>
}

/** What ends a wait; `moved`: this line is kept no longer, ask elsewhere. */
export type Outcome = Decision | { kind: 'moved' }

/** A room of this process, which can stand in for a shared one. */
export interface StandIn extends RoomLedger {
  /** What the pool's quota is believed to be. */
  setPace(pool: string, believed: PoolQuota): void
  /** Nothing is left of what was saved up. */
  drain(): void
  readonly waiting: number
  /** Everybody who waits is decided as moved. */
  moveAll(): void
}

export interface LedgerHealth {
  kind: 'memory' | 'redis'
  /** Absent: all is well. */
  degraded?: string
}

export interface ModelStatus extends RoomStatus {
  model: string
  /** Why this process is on its own with the model; absent when it is not. */
  degraded?: string
}

// ---- a client's own limits ----

/** Where it is kept what each client has used of its own limits. */
export interface ClientLimits {
  /** Of all limits or of none: a refused call takes nothing. `id`: the call's, unlike any other's. Never rejects. */
  take(client: string, settings: LimitSettings, tokens: number, id: string): Admission | Promise<Admission>
  /** The clients that have limits from now on: what others used is forgotten. */
  keep(clients: ReadonlySet<string>): void
  close(): void
}

export type Admission =
  /** `end` is called once, when the call has ended: what it reserved becomes what it was charged. */
  | { kind: 'allowed'; levels: Levels; end(chargedTokens: number): void }
  | { kind: 'refused'; denial: Denial; levels: Levels }

// ---- far side ----

export interface FlowControl {
  pause(): void
  resume(): void
}

export interface WholeReply {
  status: number
  headers: string[]
  body: Buffer
}

/** Hears of one send: either `head`, any `data`, `end`; or `throttled`; or at any point `failed`. Nothing follows the last three. */
export interface Receiver {
  head(status: number, headers: string[], flow: FlowControl): void
  data(chunk: Buffer): void
  /** `usage`: what the reply said it used; absent when it did not. `exception`: a stream that ended in one, by name. */
  end(usage: Usage | undefined, exception?: string): void
  /** The quota said no, before anything else was heard. The whole reply is small and bounded. */
  throttled(reply: WholeReply): void
  /** `sent`: the call was on its way, so Bedrock may have charged it. */
  failed(refusal: Refusal, sent: boolean): void
}

export interface Upstream {
  /**
   * Signs and sends to the pool. The returned function abandons the call and says whether it was on its way already; the
   * receiver then hears nothing more.
   */
  send(pool: PoolSettings, request: UpstreamRequest, receiver: Receiver): () => boolean
}

// ---- near side ----

/** What Sluice adds to an answer, for the client's eyes. */
export interface Notes {
  pool: string
  waitMs: number
  attempts: number
  /** Set when the upstream throttled it for good: when to come back. */
  retryAfterMs?: number
  /** What answered in Bedrock's place. */
  fallback?: FallbackKind
  /** The output cap that Sluice gave the request. */
  outputCap?: number
  /** How the client stands with its own limits. */
  rateLimit?: RateLimitNote
}

/** The values of the headers RateLimit-Policy and RateLimit; `level` is absent when nothing was asked. */
export interface RateLimitNote {
  policy: string
  level?: string
}

export type FallbackKind = 'stale' | 'model' | 'mock'

/** Sees one invocation through to its end. Never rejects for anything the client or the upstream does. */
export interface Handler {
  handle(invocation: Invocation, answer: Answer): Promise<Finished>
}

/** Where the answer to one invocation goes. */
export interface Answer {
  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void
  data(chunk: Buffer): void
  end(): void
  /** The upstream broke off after the head: the client must see a broken answer, never one that looks whole. */
  cut(): void
  refuse(refusal: Refusal, notes?: Partial<Notes>): void
}

/** One line of the day's book, written once an invocation has ended, however it did. */
export interface Finished {
  id: string
  operation: string
  model: string
  pool: string | undefined
  flow: Flow
  /** `rescued`: refused here, and answered by another model, which has a line of its own. */
  outcome: 'answered' | 'refused' | 'rescued' | 'aborted' | 'cut'
  status: number | undefined
  refusal: Refusal | undefined
  waitMs: number
  /** From the first send to the first byte of the head. */
  firstByteMs: number | undefined
  totalMs: number
  attempts: number
  /** The pools that throttled it, in order: their reservations are spent. */
  throttledBy: string[]
  reservedTokens: number
  chargedTokens: number
  usage: Usage | undefined
  /** The exception a stream ended in, after its head had said 200. */
  exception: string | undefined
  /** Sent again after a failure that was no throttle. */
  retries: number
  fallback: FallbackKind | undefined
  /** It took part in another's call, and was charged nothing. */
  coalesced: boolean
}

export interface Observer {
  finished(invocation: Finished): void
}
