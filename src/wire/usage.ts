// What a successful response says it cost, read while its bytes pass: from the headers where they say it, else from
// the one JSON body, the AWS event stream or the server-sent events that the operation answers with.
import type { Usage } from '../domain/charge.ts'
import type { Operation } from './operations.ts'
import { createBodyUsageReader } from './usageBody.ts'
import { createEventStreamUsageReader } from './usageEventStream.ts'
import type { UsageReader } from './usageReader.ts'
import { createServerSentEventsUsageReader } from './usageServerSentEvents.ts'
import { countedUsage } from './usageShapes.ts'

export type { UsageReader } from './usageReader.ts'

const COUNT_HEADER = 'x-amzn-bedrock-'

/** `header` looks one response header up by its lower-case name. A response it cannot read gives a reader of nothing. */
export function createUsageReader(
  operation: Operation,
  header: (lowerCaseName: string) => string | undefined,
): UsageReader {
  if (!operation.metered || operation.name === 'StartAsyncInvoke') return readerOf(undefined)
  const counted = operation.name === 'InvokeModel' ? headerCounts(header) : undefined
  const usage = counted && countedUsage(counted.input, counted.output, counted.cacheRead, counted.cacheWrite)
  if (usage !== undefined) return readerOf(usage)
  const encoding = header('content-encoding')
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') return readerOf(undefined)
  const contentType = header('content-type')?.toLowerCase() ?? 'application/json'
  if (contentType.startsWith('application/vnd.amazon.eventstream')) return createEventStreamUsageReader(operation.name)
  if (contentType.startsWith('text/event-stream')) return createServerSentEventsUsageReader()
  if (contentType.includes('json')) return createBodyUsageReader(counted?.input)
  return readerOf(undefined)
}

function readerOf(usage: Usage | undefined): UsageReader {
  return { push() {}, end: () => usage }
}

/** Real on InvokeModel though not in AWS's service model; input counts exclude cached tokens (recorded 2025). */
function headerCounts(header: (lowerCaseName: string) => string | undefined) {
  const count = (name: string) => countOf(header(`${COUNT_HEADER}${name}-token-count`))
  return {
    input: count('input'),
    output: count('output'),
    cacheRead: count('cache-read-input'),
    cacheWrite: count('cache-write-input'),
  }
}

/** Digits only: Number('') and Number(' ') would be 0. */
function countOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
