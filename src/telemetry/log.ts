// What is logged, and under which names. Never a prompt, an answer, a header or a key: only figures and configured names.
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Refusal, RefusalCode } from '../domain/refusal.ts'
import type { Finished } from '../gateway/ports.ts'

export type { Logger }

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** Structured lines on standard output, one JSON object each. */
export function createLog(
  level: string,
  destination: DestinationStream = pino.destination({ dest: 1, sync: false }),
): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
}

/**
 * One line an invocation: `info`, or `warn` when it was refused or cut. Its client was told `bedrockRequestId`, or `requestId`
 * when it was Sluice that answered.
 */
export function logFinished(log: Logger, run: Finished): void {
  const level = run.outcome === 'refused' || run.outcome === 'cut' ? 'warn' : 'info'
  if (!log.isLevelEnabled(level)) return
  log[level](
    {
      requestId: run.id,
      bedrockRequestId: run.names?.requestId === run.id ? undefined : run.names?.requestId,
      traceId: run.traceId,
      operation: run.operation,
      model: run.model,
      pool: run.pool,
      priority: run.flow.priority,
      client: run.flow.client,
      user: run.flow.user,
      credential: run.credential,
      outcome: run.outcome,
      status: run.status,
      refusal: run.refusal?.code,
      reason: run.refusal?.message,
      waitMs: Math.round(run.waitMs),
      firstByteMs: run.firstByteMs,
      totalMs: run.totalMs,
      attempts: run.attempts,
      throttles: run.throttledBy.length,
      retries: run.retries,
      exception: run.exception ?? run.names?.exception,
      fallback: run.fallback,
      coalesced: run.coalesced || undefined,
      reservedTokens: run.reservedTokens,
      chargedTokens: run.chargedTokens,
      ...run.usage,
    },
    'invocation',
  )
}

/** Whose messages an operator needs, since one app's credential is wrong in a way of its own. */
const TELLS_WHY: ReadonlySet<RefusalCode> = new Set(['unknown-key', 'expired-token', 'bad-signature'])

/** One line for whoever was turned away before the gateway heard of it. */
export function logRefused(log: Logger, { code, message, from }: Refusal, operation: string, requestId: string): void {
  // What repeats a piece of the request has it in quotes: it may be anything, a secret in the wrong place too.
  const reason = TELLS_WHY.has(code) && !message.includes('"') ? message : undefined
  log.warn({ requestId, operation, refusal: code, reason, ...from }, 'refused')
}
