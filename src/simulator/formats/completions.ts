// The providers that only continue a prompt: Meta Llama, Mistral and Cohere Command inside InvokeModel; and Cohere's chat.
// The whole answers are held to recordings; the streamed chunks are not recorded, and follow the providers' documentation.
import { groups } from '../answer.ts'
import type { JsonObject } from '../json.ts'
import { textAt } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const LOWER = { end: 'stop', length: 'length', tool: 'stop' }
const UPPER = { end: 'COMPLETE', length: 'MAX_TOKENS', tool: 'COMPLETE' }

/** A stream of pieces, and a last event that tells why it stopped. */
function streaming(
  piece: (text: string, tokensSoFar: number, completion: Completion) => JsonObject,
  ending: (completion: Completion) => JsonObject,
): Format['stream'] {
  return function* (completion): Generator<StreamEvent> {
    let soFar = 0
    for (const { text, tokens } of groups(completion.dice, completion.answer)) {
      soFar += tokens
      yield { name: 'chunk', tokens, payload: piece(text, soFar, completion) }
    }
    yield { name: 'chunk', tokens: 0, payload: ending(completion), last: true }
  }
}

function generation(text: string, tokens: number, { usage }: Completion, stop: string | null): JsonObject {
  return { generation: text, prompt_token_count: usage.inputTokens, generation_token_count: tokens, stop_reason: stop }
}

export const llama: Format = {
  writesText: true,
  whole: c => generation(wholeText(c), c.usage.outputTokens, c, LOWER[c.answer.stop]),
  stream: streaming(
    (text, soFar, c) => generation(text, soFar, c, null),
    c => generation('', c.usage.outputTokens, c, LOWER[c.answer.stop]),
  ),
}

export const mistral: Format = {
  writesText: true,
  whole: c => ({ outputs: [{ text: wholeText(c), stop_reason: LOWER[c.answer.stop] }] }),
  stream: streaming(
    text => ({ outputs: [{ text, stop_reason: null }] }),
    c => ({ outputs: [{ text: '', stop_reason: LOWER[c.answer.stop] }] }),
  ),
}

export const cohereCommand: Format = {
  writesText: true,
  whole: c => ({
    id: c.requestId,
    generations: [{ id: c.names.uuid(), text: wholeText(c), finish_reason: UPPER[c.answer.stop] }],
    prompt: textAt(c.body, 'prompt') ?? '',
  }),
  stream: streaming(
    text => ({ index: 0, is_finished: false, text }),
    c => ({ finish_reason: UPPER[c.answer.stop], index: 0, is_finished: true }),
  ),
}

export const cohereChat: Format = {
  writesText: true,
  whole: c => ({
    response_id: c.names.uuid(),
    text: wholeText(c),
    generation_id: c.names.uuid(),
    chat_history: [
      { role: 'USER', message: textAt(c.body, 'message') ?? '' },
      { role: 'CHATBOT', message: wholeText(c) },
    ],
    finish_reason: UPPER[c.answer.stop],
  }),
  stream: streaming(
    text => ({ event_type: 'text-generation', is_finished: false, text }),
    c => ({ event_type: 'stream-end', finish_reason: UPPER[c.answer.stop], is_finished: true }),
  ),
}
