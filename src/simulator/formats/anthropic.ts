// Anthropic's messages, inside InvokeModel and on the Messages route.
import { groups } from '../answer.ts'
import type { JsonObject } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const STOP_REASON = { end: 'end_turn', length: 'max_tokens', tool: 'tool_use' }

export const anthropic: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const { tool, stop } = completion.answer
  const head = messageHead(completion)
  const block = tool
    ? { type: 'tool_use', id: completion.names.after('toolu_bdrk_'), name: tool.name, input: tool.input }
    : { type: 'text', text: wholeText(completion) }
  const outcome = { stop_reason: STOP_REASON[stop], stop_sequence: null }
  return { ...head, content: [block], ...outcome, usage: usage(completion, completion.usage.outputTokens) }
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const { tool, stop } = completion.answer
  const begun = { content: [], stop_reason: null, stop_sequence: null, usage: usage(completion, 1) }
  yield event('message_start', { message: { ...messageHead(completion), ...begun } })
  const block = tool
    ? { type: 'tool_use', id: completion.names.after('toolu_bdrk_'), name: tool.name, input: {} }
    : { type: 'text', text: '' }
  yield event('content_block_start', { index: 0, content_block: block })
  for (const { text, tokens } of groups(completion.dice, completion.answer)) {
    const delta = tool ? { type: 'input_json_delta', partial_json: text } : { type: 'text_delta', text }
    yield { ...event('content_block_delta', { index: 0, delta }), tokens }
  }
  yield event('content_block_stop', { index: 0 })
  yield event('message_delta', {
    delta: { stop_reason: STOP_REASON[stop], stop_sequence: null },
    usage: { output_tokens: completion.usage.outputTokens },
  })
  yield { ...event('message_stop', {}), last: true }
}

function event(type: string, rest: JsonObject): StreamEvent {
  return { name: type, tokens: 0, payload: { type, ...rest } }
}

function messageHead({ names, modelId }: Completion): JsonObject {
  return { id: names.after('msg_bdrk_'), type: 'message', role: 'assistant', model: anthropicName(modelId) }
}

function usage({ usage, marksCache }: Completion, outputTokens: number): JsonObject {
  const cached = marksCache
    ? { cache_creation_input_tokens: usage.cacheWriteTokens, cache_read_input_tokens: usage.cacheReadTokens }
    : {}
  return { input_tokens: usage.inputTokens, ...cached, output_tokens: outputTokens }
}

/** "us.anthropic.claude-3-5-sonnet-20240620-v1:0" → "claude-3-5-sonnet-20240620", as in the recordings. */
function anthropicName(modelId: string): string {
  const name = modelId.split('anthropic.').at(-1) ?? modelId
  return name.replace(/(?<=\d)-v\d+(:\d+)?$/, '')
}
