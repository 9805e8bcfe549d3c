// What is told of an invocation on its way to whoever traces it. Nothing is, and nothing is spent on it, while nobody does.
import type { Usage } from '../domain/charge.ts'
import type { PoolSettings } from '../domain/model.ts'

/** One invocation's, from its arrival to its end. */
export interface Trace {
  /** 32 hex digits, not all of them 0. */
  readonly id: string
  /**
   * It waits for a turn, a backoff or a connection, until it is sent or has ended: since its latest send ended, or since
   * `startedMs` while it has not been sent.
   */
  waits(startedMs: number): void
  /** It is sent to the pool; `attempt` counts from 1. What is begun here is ended by exactly one `ended`. */
  sends(pool: PoolSettings, attempt: number, sentMs: number, request: Traceable): SendTrace
}

/** What a trace reads of a request, and where it goes on. */
export interface Traceable {
  /** As it is asked for at Bedrock. */
  modelId?: string
  /** Flat name, value, … */
  headers: string[]
}

export interface SendTrace {
  /** Those of the request, so that the trace goes on at the far side. */
  readonly headers: string[]
  ended(ending: SendEnding): void
}

/** What became of one send. */
export interface SendEnding {
  /** Absent: no head of an answer came. */
  status?: number
  throttled?: true
  /** A refusal's code when it failed, or the name of the exception that its stream ended in. */
  failure?: string
  /** The client went away. */
  abandoned?: true
  usage?: Usage | undefined
  /** From the send to the first byte of the head. */
  firstByteMs?: number | undefined
}
