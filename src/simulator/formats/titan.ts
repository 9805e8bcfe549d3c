// Amazon Titan text inside InvokeModel. It streams in few, large chunks; a short answer is a single one.
import { groups } from '../answer.ts'
import type { JsonObject } from '../json.ts'
import { type Completion, type Format, type StreamEvent, wholeText } from './format.ts'

const REASON = { end: 'FINISH', length: 'LENGTH', tool: 'FINISH' }
const CHUNK_TOKENS = 32

export const titan: Format = { writesText: true, whole, stream }

function whole(completion: Completion): JsonObject {
  const { usage, answer } = completion
  const outputText = wholeText(completion)
  return {
    inputTextTokenCount: promptTokens(completion),
    results: [{ tokenCount: usage.outputTokens, outputText, completionReason: REASON[answer.stop] }],
  }
}

function* stream(completion: Completion): Generator<StreamEvent> {
  const { answer, usage } = completion
  let left = answer.pieces.length
  let outputText = ''
  let tokens = 0
  for (const group of groups(completion.dice, answer)) {
    outputText += group.text
    tokens += group.tokens
    left -= group.tokens
    if (left > 0 && tokens < CHUNK_TOKENS) continue
    const last = left === 0
    const payload = {
      outputText,
      index: 0,
      totalOutputTextTokenCount: last ? usage.outputTokens : null,
      completionReason: last ? REASON[answer.stop] : null,
      inputTextTokenCount: promptTokens(completion),
    }
    yield { name: 'chunk', tokens, payload, ...(last && { last }) }
    outputText = ''
    tokens = 0
  }
}

function promptTokens({ usage }: Completion): number {
  return usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
}
