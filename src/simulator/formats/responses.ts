// OpenAI's Responses: one output item, a message or a function call, whole or as numbered events.
import { groups } from '../answer.ts'
import { at, type JsonObject } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

export const responses: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const id = completion.names.after('resp_')
  return response(
    completion,
    id,
    item(completion, completion.names.after(itemPrefix(completion)), wholeText(completion)),
  )
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const id = completion.names.after('resp_')
  const itemId = completion.names.after(itemPrefix(completion))
  let sequence = 0
  const event = (type: string, rest: JsonObject, tokens = 0): StreamEvent => {
    const payload = { type, sequence_number: sequence, ...rest }
    sequence += 1
    return { name: type, tokens, payload }
  }
  const place = { item_id: itemId, output_index: 0 }
  const tool = completion.answer.tool !== undefined
  yield event('response.created', { response: response(completion, id) })
  yield event('response.in_progress', { response: response(completion, id) })
  yield event('response.output_item.added', { output_index: 0, item: item(completion, itemId) })
  const inside = tool ? place : { ...place, content_index: 0 }
  if (!tool) yield event('response.content_part.added', { ...inside, part: part('') })
  const kind = tool ? 'response.function_call_arguments' : 'response.output_text'
  const extra = tool ? {} : { logprobs: [] }
  for (const { text, tokens } of groups(completion.dice, completion.answer))
    yield event(`${kind}.delta`, { ...inside, delta: text, ...extra }, tokens)
  const text = wholeText(completion)
  yield event(`${kind}.done`, { ...inside, [tool ? 'arguments' : 'text']: text, ...extra })
  if (!tool) yield event('response.content_part.done', { ...inside, part: part(text) })
  const done = item(completion, itemId, text)
  yield event('response.output_item.done', { output_index: 0, item: done })
  const ending = completion.answer.stop === 'length' ? 'response.incomplete' : 'response.completed'
  yield { ...event(ending, { response: response(completion, id, done) }), last: true }
}

/** Without its item it is still in progress. */
function response(completion: Completion, id: string, done?: JsonObject): JsonObject {
  const { body, modelId, startedAtMs, answer } = completion
  const cut = answer.stop === 'length'
  const status = cut ? 'incomplete' : 'completed'
  return {
    id,
    object: 'response',
    created_at: Math.floor(startedAtMs / 1000),
    status: done ? status : 'in_progress',
    error: null,
    incomplete_details: done && cut ? { reason: 'max_output_tokens' } : null,
    instructions: at(body, 'instructions') ?? null,
    max_output_tokens: at(body, 'max_output_tokens') ?? null,
    metadata: at(body, 'metadata') ?? {},
    model: modelId,
    output: done ? [done] : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: at(body, 'temperature') ?? null,
    tool_choice: at(body, 'tool_choice') ?? 'auto',
    tools: at(body, 'tools') ?? [],
    top_p: at(body, 'top_p') ?? null,
    usage: done ? usage(completion) : null,
  }
}

function itemPrefix({ answer }: Completion): string {
  return answer.tool ? 'fc_' : 'msg_'
}

/** Without its text it is still in progress. */
function item({ answer }: Completion, id: string, text?: string): JsonObject {
  const status = text === undefined ? 'in_progress' : 'completed'
  if (answer.tool) {
    const { name } = answer.tool
    return { id, type: 'function_call', status, call_id: id.replace('fc_', 'call_'), name, arguments: text ?? '' }
  }
  const ended = status === 'completed' && answer.stop === 'length' ? 'incomplete' : status
  return { id, type: 'message', status: ended, role: 'assistant', content: text === undefined ? [] : [part(text)] }
}

function part(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function usage({ usage }: Completion): JsonObject {
  const inputTokens = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: usage.cacheReadTokens, cache_write_tokens: usage.cacheWriteTokens },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + usage.outputTokens,
  }
}
