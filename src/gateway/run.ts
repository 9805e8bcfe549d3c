// What is written down of an invocation while it is on its way.
import type { Finished, Invocation } from './ports.ts'
import type { SendSignal } from './signals.ts'

/** A Finished in the making. */
export interface Run extends Finished {
  startedMs: number
  sendingMs: number
  /** Of the latest send. */
  signal: SendSignal | undefined
}

export function newRun(invocation: Invocation, nowMs: number): Run {
  return {
    id: invocation.id,
    operation: invocation.request.operation.name,
    model: invocation.model?.name ?? 'none',
    pool: undefined,
    flow: invocation.flow,
    outcome: 'aborted',
    status: undefined,
    refusal: undefined,
    waitMs: 0,
    firstByteMs: undefined,
    totalMs: 0,
    attempts: 0,
    throttledBy: [],
    reservedTokens: 0,
    chargedTokens: 0,
    usage: undefined,
    exception: undefined,
    retries: 0,
    fallback: undefined,
    coalesced: false,
    credential: invocation.credential,
    traceId: invocation.traceId,
    startedMs: nowMs,
    sendingMs: 0,
    signal: undefined,
  }
}
