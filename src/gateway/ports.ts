// What the gateway needs from the world, in its own words. The adapters live in memory/, redis/, bedrock/, http/ and telemetry/.
import type { Usage } from '../domain/charge.ts'
import type { Flow, ModelSettings, PoolSettings } from '../domain/model.ts'
import type { Dimension, PoolQuota } from '../domain/pool.ts'
import type { PoolNews, Report, Steering } from '../domain/poolReport.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { RoomStatus } from '../domain/roomStatus.ts'
import type { Demand } from '../wire/demand.ts'
import type { Operation } from '../wire/operations.ts'
import type { RateLimitNote } from './limitPorts.ts'
import type { Presence } from './presence.ts'
import type { Trace } from './tracePorts.ts'

/** One Bedrock call, stripped of HTTP. */
export interface Invocation {
  id: string
  /** Which model's quotas it draws on; absent for calls that Bedrock does not meter and that name no model. */
  model?: ModelSettings
  /** Absent: not metered, so it is sent at once. */
  demand?: Demand
  flow: Flow
  /** What its client was known by, where the flow's user is another name. */
  credential?: string
  /** How long it may wait for its turn, in all. */
  maxWaitMs: number
  /** What the client's SDK calls all its attempts at one call: a retry of its own regains its place. */
  sdkInvocationId?: string
  /** It would rather be refused at once than wait for a pool to open. */
  refuseWhenShut?: boolean
  request: UpstreamRequest
  presence: Presence
  /** Told each time its turn has come, before the call is sent: whoever shares the call waits no longer either. */
  granted?: () => void
  /** When its first byte came; absent: now. */
  arrivedMs?: number
  /** Of the trace that it belongs to, its client's or ours: 32 hex digits. */
  traceId?: string | undefined
  /** Absent: nobody traces it. */
  trace?: Trace
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
  /** Consecutive failures that shut a pool at once; absent: none do. */
  failures?: number
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
  /** Refused with `no-pool-open`, at once or when it comes to that, instead of waiting while no pool that could hold it is open. */
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
export interface Ledger extends Board {
  /** Resolves when it is this request's turn, or never will be. Never rejects. */
  acquire(ask: Ask, presence: Presence): Promise<Decision>
  /**
   * The granted pool threw it back: wait again, ahead of newcomers, until the same deadline; elsewhere for a while, if there is
   * an elsewhere. `chargedTokens`: what Bedrock charged for a call that failed; absent: it was throttled, which gives nothing
   * back, for its bucket is emptier than ours.
   */
  requeue(ask: Ask, presence: Presence, chargedTokens?: number): Promise<Decision>
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
  requeue(ask: Ask, presence: Presence, chargedTokens?: number): Promise<Outcome>
  /** False when it holds no such reservation. */
  settle(ticketId: string, chargedTokens: number): boolean
  configure(settings: RoomSettings): void
  status(): Promise<RoomStatus>
  /** See Board. */
  report(news: PoolNews[]): Promise<Report>
  steer(steering: Steering): Promise<void>
}

/** Where the gateways put together what they saw of a model's pools, and where one of them at a time decides for all. */
export interface Board {
  /**
   * Adds this gateway's news of its pools; nothing new is news too: it keeps the lease and asks how things stand. Never rejects:
   * news that a shared ledger did not confirm counts there once or not at all, and is told to this process's own meanwhile.
   */
  report(model: string, news: PoolNews[]): Promise<Report>
  /** Changes nothing when the lease is not this gateway's any more. Rejects only a state of more than MOST_STATE characters. */
  steer(model: string, steering: Steering): Promise<void>
}

/** What ends a wait; `moved`: this line is kept no longer, ask elsewhere. */
export type Outcome = Decision | { kind: 'moved' }

/** A room of this process, which can stand in for a shared one. */
export interface StandIn extends RoomLedger {
  /** What the pool's quota is believed to be. */
  setPace(pool: string, believed: PoolQuota): void
  /** Nothing is left of what was saved up, of what was reported, and of what was shut for it. */
  drain(): void
  readonly waiting: number
  /** Everybody who waits is decided as moved. */
  moveAll(): void
}

export interface LedgerHealth {
  kind: 'memory' | 'redis'
  /** Absent: all is well. */
  degraded?: string
  /** Settlements not told yet to whoever keeps the levels, and how many are kept at most; absent: they are told at once. */
  backlog?: { depth: number; limit: number }
}

export interface ModelStatus extends RoomStatus {
  model: string
  /** Why this process is on its own with the model; absent when it is not. */
  degraded?: string
}

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

/** Which quota a throttle speaks of; `day`: one that no wait of ours would help. */
export type ThrottleSubject = Dimension | 'unclear' | 'day'

/**
 * Hears of one send: either `head`, any `data`, `end`; or `throttled` or `errored`; or at any point `failed`. Nothing follows
 * the last four. What is held back is small, whole and bounded.
 */
export interface Receiver {
  head(status: number, headers: string[], flow: FlowControl): void
  data(chunk: Buffer): void
  /** `usage`: what the reply said it used; absent when it did not. `exception`: a stream that ended in one, by name. */
  end(usage: Usage | undefined, exception?: string): void
  /** The quota said no, before anything else was heard. */
  throttled(reply: WholeReply, of: ThrottleSubject): void
  /** Bedrock says that it has failed, before anything else was heard, and that the call is worth sending again. */
  errored(reply: WholeReply): void
  /** `sent`: the call was on its way, so Bedrock may have charged it. */
  failed(refusal: Refusal, sent: boolean): void
}

export interface Upstream {
  /** Signs and sends to the pool. */
  send(pool: PoolSettings, request: UpstreamRequest, receiver: Receiver): Call
}

export interface Call {
  /** It is on its way, so Bedrock may charge it. */
  readonly isSent: boolean
  /** Ends it; the receiver hears nothing more. */
  abandon(): void
}

// ---- near side ----

/** What Sluice adds to an answer, for the client's eyes. */
export interface Notes {
  /** Absent: no pool answered, but what was kept of an earlier answer, or a placeholder. */
  pool?: string
  waitMs: number
  attempts: number
  /** Set when the upstream throttled it for good: when to come back. */
  retryAfterMs?: number
  /** What answered in Bedrock's place. */
  fallback?: FallbackKind
  /** The output cap that Sluice gave the request. */
  outputCap?: number
  /** The answer is that of an identical call which was in flight already. */
  coalesced?: true
  /** How the client stands with its own limits. */
  rateLimit?: RateLimitNote
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
  /** Its client is gone: nothing more is said, though the call may go on for long. */
  left?(): void
  /** Of the head that its client was given; by whoever gives it to a client. */
  names?(): AnswerNames | undefined
}

/** What Bedrock calls its answer, by which it is found at AWS and by its client. */
export interface AnswerNames {
  requestId: string | undefined
  /** When it is an error. */
  exception: string | undefined
}

/** One line of the day's book, written once an invocation has ended, however it did. */
export interface Finished {
  id: string
  operation: string
  model: string
  pool: string | undefined
  flow: Flow
  /** `rescued`: its client was not given this ending, but another model's answer, or its request's first ending, which has a line of its own. */
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
  /** See Invocation. */
  credential?: string | undefined
  traceId?: string | undefined
  names?: AnswerNames | undefined
}

export interface Observer {
  finished(invocation: Finished): void
}
