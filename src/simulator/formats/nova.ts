// Amazon Nova inside InvokeModel. Its stream closes a content block after every piece of text and opens the next.
import { groups } from '../answer.ts'
import type { JsonObject } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const STOP_REASON = { end: 'end_turn', length: 'max_tokens', tool: 'tool_use' }

export const nova: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const { tool, stop } = completion.answer
  const content = tool
    ? { toolUse: { name: tool.name, toolUseId: completion.names.uuid(), input: tool.input } }
    : { text: wholeText(completion) }
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = completion.usage
  return {
    output: { message: { content: [content], role: 'assistant' } },
    stopReason: STOP_REASON[stop],
    usage: {
      inputTokens,
      outputTokens,
      totalTokens: inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens,
      cacheReadInputTokenCount: cacheReadTokens,
      cacheWriteInputTokenCount: cacheWriteTokens,
    },
  }
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const { tool, stop, pieces } = completion.answer
  yield event({ messageStart: { role: 'assistant' } })
  if (tool) {
    const start = { toolUse: { toolUseId: completion.names.uuid(), name: tool.name } }
    yield event({ contentBlockStart: { start, contentBlockIndex: 0 } })
    const delta = { toolUse: { input: pieces.join('') } }
    yield { ...event({ contentBlockDelta: { delta, contentBlockIndex: 0 } }), tokens: pieces.length }
    yield event({ contentBlockStop: { contentBlockIndex: 0 } })
  } else {
    let contentBlockIndex = 0
    for (const { text, tokens } of groups(completion.dice, completion.answer)) {
      yield { ...event({ contentBlockDelta: { delta: { text }, contentBlockIndex } }), tokens }
      yield event({ contentBlockStop: { contentBlockIndex } })
      contentBlockIndex += 1
    }
  }
  yield event({ messageStop: { stopReason: STOP_REASON[stop] } })
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = completion.usage
  const cached = { cacheReadInputTokenCount: cacheReadTokens, cacheWriteInputTokenCount: cacheWriteTokens }
  const metadata = { usage: { inputTokens, outputTokens, ...cached }, metrics: {}, trace: {} }
  yield { ...event({ metadata }), last: true }
}

function event(payload: JsonObject): StreamEvent {
  return { name: 'chunk', tokens: 0, payload }
}
