// When two invocations are the same: method, path, headers with a meaning and body, byte by byte; and who may share an answer.
import { createHash } from 'node:crypto'
import { sluicesPassed } from '../wire/via.ts'
import type { Invocation } from './ports.ts'

const MEANINGFUL = new Set(['accept', 'content-type', 'content-encoding'])
/** Headers that steer the model itself: guardrails, tracing, latency, service tier, betas. */
const MEANINGFUL_PREFIXES = ['x-amzn-bedrock-', 'anthropic-', 'openai-']

/** Equal for identical invocations only. `shared`: of whichever client; else of the same client. */
export function invocationKey({ flow, model, request }: Invocation, shared: boolean): string {
  const parts = [
    shared ? '' : flow.client,
    model?.name ?? '',
    request.operation.method,
    request.rawUrl,
    // One that comes round would wait for itself.
    sluicesPassed(request.headers),
    ...meaningfulHeaders(request.headers),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).update('\n').update(request.body).digest('base64url')
}

function meaningfulHeaders(headers: string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase()
    const counts = MEANINGFUL.has(name) || MEANINGFUL_PREFIXES.some(prefix => name.startsWith(prefix))
    if (counts) kept.push(`${name}:${headers[i + 1]!}`)
  }
  return kept.sort()
}
