// Converse and ConverseStream: Bedrock's own words, the same for every model.
import { groups } from '../answer.ts'
import type { JsonObject } from '../json.ts'
import { objectAt } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const STOP_REASON = { end: 'end_turn', length: 'max_tokens', tool: 'tool_use' }

export const converse: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const { tool, stop } = completion.answer
  const content = tool
    ? { toolUse: { input: tool.input, name: tool.name, toolUseId: completion.names.after('tooluse_') } }
    : { text: wholeText(completion) }
  return {
    metrics: metrics(completion),
    output: { message: { content: [content], role: 'assistant' } },
    stopReason: STOP_REASON[stop],
    usage: usage(completion),
    ...echoed(completion),
  }
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const { tool, stop } = completion.answer
  yield { name: 'messageStart', tokens: 0, payload: { role: 'assistant' } }
  if (tool) {
    const start = { toolUse: { name: tool.name, toolUseId: completion.names.after('tooluse_') } }
    yield { name: 'contentBlockStart', tokens: 0, payload: { contentBlockIndex: 0, start } }
  }
  for (const { text, tokens } of groups(completion.dice, completion.answer)) {
    const delta = tool ? { toolUse: { input: text } } : { text }
    yield { name: 'contentBlockDelta', tokens, payload: { contentBlockIndex: 0, delta } }
  }
  yield { name: 'contentBlockStop', tokens: 0, payload: { contentBlockIndex: 0 } }
  yield { name: 'messageStop', tokens: 0, payload: { stopReason: STOP_REASON[stop] } }
  const payload = { metrics: metrics(completion), usage: usage(completion), ...echoed(completion) }
  yield { name: 'metadata', tokens: 0, payload, last: true }
}

function metrics(completion: Completion): JsonObject {
  return { latencyMs: completion.latency().invocationMs }
}

function usage({ usage, marksCache }: Completion): JsonObject {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = usage
  const cached = marksCache ? { cacheReadInputTokens: cacheReadTokens, cacheWriteInputTokens: cacheWriteTokens } : {}
  const totalTokens = inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens
  return { inputTokens, outputTokens, totalTokens, ...cached }
}

/** The latency mode and service tier that were asked for are told back. */
function echoed({ body }: Completion): JsonObject {
  const performanceConfig = objectAt(body, 'performanceConfig')
  const serviceTier = objectAt(body, 'serviceTier')
  return { ...(performanceConfig && { performanceConfig }), ...(serviceTier && { serviceTier }) }
}
