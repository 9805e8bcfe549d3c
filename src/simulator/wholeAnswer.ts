// An answer that goes in one piece, after the time its tokens would have taken; InvokeModel tells its counts in headers.
import type { Clock } from '../domain/clock.ts'
import type { Call } from './call.ts'
import type { Whole } from './delivery.ts'
import { converse } from './formats/converse.ts'
import type { Completion, Format } from './formats/format.ts'
import { sortedJson } from './json.ts'
import type { ModelCall } from './modelCall.ts'
import type { Pace } from './pace.ts'
import { headers } from './replies.ts'

/** What a caller may ask for in a header and is told back in one. */
const ECHOED = ['X-Amzn-Bedrock-PerformanceConfig-Latency', 'X-Amzn-Bedrock-Service-Tier']

export function wholeAnswer(clock: Clock, call: Call, asked: ModelCall, completion: Completion, pace: Pace): Whole {
  const firstMs = pace.firstMs()
  const { outputTokens } = completion.usage
  return {
    waitMs: firstMs + pace.nextMs(Math.max(0, outputTokens - 1)),
    producedTokens: elapsedMs => Math.min(outputTokens, pace.producedTokens(elapsedMs, firstMs)),
    answer: () => {
      const particular = call.operation.name === 'InvokeModel' ? invokeHeaders(call, completion) : []
      return {
        status: 200,
        headers: headers(call, clock.nowMs(), 'application/json', particular),
        body: wholeBody(asked.format, completion),
        cut: call.fault.broken?.how === 'cut',
      }
    },
  }
}

/** Bedrock sorts the keys of what it writes itself. */
export function wholeBody(format: Format, completion: Completion): Buffer {
  const json = format.whole(completion)
  return Buffer.from(format === converse ? sortedJson(json) : JSON.stringify(json))
}

function invokeHeaders(call: Call, completion: Completion): string[] {
  const { usage, tellsCache } = completion
  const counts: [string, number][] = [
    ['Invocation-Latency', completion.latency().invocationMs],
    ['Input-Token-Count', usage.inputTokens],
    ['Output-Token-Count', usage.outputTokens],
  ]
  if (tellsCache) {
    counts.push(['Cache-Read-Input-Token-Count', usage.cacheReadTokens])
    counts.push(['Cache-Write-Input-Token-Count', usage.cacheWriteTokens])
  }
  const told = counts.flatMap(([name, count]) => [`X-Amzn-Bedrock-${name}`, String(count)])
  for (const name of ECHOED) {
    const asked = call.request.headers[name.toLowerCase()]
    if (typeof asked === 'string') told.push(name, asked)
  }
  return told
}
