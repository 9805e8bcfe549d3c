// OpenAI's Chat Completions: its own route, and what OpenAI's open models answer inside InvokeModel.
import { groups } from '../answer.ts'
import { at, type JsonObject } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const FINISH_REASON = { end: 'stop', length: 'length', tool: 'tool_calls' }

export const chatCompletions: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const { tool, stop, pieces } = completion.answer
  const message: JsonObject = { role: 'assistant', content: tool ? null : wholeText(completion), refusal: null }
  if (tool) message.tool_calls = [{ id: completion.names.after('call_'), ...call(tool.name, pieces.join('')) }]
  return {
    ...head(completion, 'chat.completion'),
    choices: [{ index: 0, message, logprobs: null, finish_reason: FINISH_REASON[stop] }],
    usage: usage(completion),
  }
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const { tool, stop } = completion.answer
  const wantsUsage = at(completion.body, 'stream_options', 'include_usage') === true
  const started = head(completion, 'chat.completion.chunk')
  const chunk = (delta: JsonObject, finish: string | null, tokens = 0): StreamEvent => {
    const choices = [{ index: 0, delta, logprobs: null, finish_reason: finish }]
    return { name: 'chunk', tokens, payload: { ...started, choices, ...(wantsUsage && { usage: null }) } }
  }
  const opening = tool
    ? { content: null, tool_calls: [{ index: 0, id: completion.names.after('call_'), ...call(tool.name, '') }] }
    : { content: '' }
  yield chunk({ role: 'assistant', ...opening }, null)
  for (const { text, tokens } of groups(completion.dice, completion.answer)) {
    const delta = tool ? { tool_calls: [{ index: 0, function: { arguments: text } }] } : { content: text }
    yield chunk(delta, null, tokens)
  }
  const ending = chunk({}, FINISH_REASON[stop])
  yield wantsUsage ? ending : { ...ending, last: true }
  if (!wantsUsage) return
  const payload = { ...started, choices: [], usage: usage(completion) }
  yield { name: 'chunk', tokens: 0, payload, last: true }
}

function head({ names, modelId, startedAtMs }: Completion, object: string): JsonObject {
  return { id: names.after('chatcmpl-'), object, created: Math.floor(startedAtMs / 1000), model: modelId }
}

function call(name: string, input: string): JsonObject {
  return { type: 'function', function: { name, arguments: input } }
}

/** OpenAI counts cached tokens inside prompt_tokens. */
function usage({ usage }: Completion): JsonObject {
  const promptTokens = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
  return {
    prompt_tokens: promptTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: promptTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cacheReadTokens },
  }
}
