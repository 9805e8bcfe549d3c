// Whether this process traces its invocations: as OpenTelemetry's own environment variables say, and nothing else. While
// they ask for nothing, nothing of its SDK is loaded.
import type { Tracing, TracingNeeds } from './tracingSdk.ts'
import { type Variables, wishOf } from './tracingWish.ts'

export type { Tracing }

/** `variables` must be the process's own when something is to be traced: OpenTelemetry's SDK reads the rest of them by itself. */
export async function startTracing(variables: Variables, needs: TracingNeeds): Promise<Tracing | undefined> {
  const { tracing, warnings } = wishOf(variables)
  for (const warning of warnings) needs.log.warn({ warning }, 'tracing')
  if (!tracing) return undefined
  const { buildTracing } = await import('./tracingSdk.ts')
  needs.log.info({ endpoint: tracing.endpoint }, 'tracing')
  return buildTracing(tracing.propagates, needs)
}
