// Which format answers: by the operation, then by the provider in the modelId, then by the shape of the body.
import type { OperationName } from '../../wire/operations.ts'
import { at, type JsonObject } from '../json.ts'
import { anthropic } from './anthropic.ts'
import { chatCompletions } from './chatCompletions.ts'
import { cohereChat, cohereCommand, llama, mistral } from './completions.ts'
import { converse } from './converse.ts'
import { cohereEmbedding, titanEmbedding } from './embeddings.ts'
import type { Format } from './format.ts'
import { nova } from './nova.ts'
import { responses } from './responses.ts'
import { titan } from './titan.ts'

const BY_OPERATION: Partial<Record<OperationName, Format>> = {
  Converse: converse,
  ConverseStream: converse,
  ChatCompletions: chatCompletions,
  Responses: responses,
  Messages: anthropic,
}

/** Anywhere in the modelId, for geo prefixes and ARNs; the first that matches wins. */
const BY_PROVIDER: [string, Format][] = [
  ['anthropic.', anthropic],
  ['amazon.nova', nova],
  ['amazon.titan-embed', titanEmbedding],
  ['amazon.titan', titan],
  ['meta.llama', llama],
  ['cohere.embed', cohereEmbedding],
  ['cohere.command-r', cohereChat],
  ['cohere.command', cohereCommand],
]

export function chooseFormat(operation: OperationName, modelId: string, body: JsonObject): Format {
  return knownFormat(operation, modelId, body) ?? guessedFormat(body)
}

/** Undefined when neither the modelId nor the body says whose format it is. */
export function knownFormat(operation: OperationName, modelId: string, body: JsonObject): Format | undefined {
  const fixed = BY_OPERATION[operation] ?? BY_PROVIDER.find(([provider]) => modelId.includes(provider))?.[1]
  if (fixed) return fixed
  const chats = at(body, 'messages') !== undefined
  if (modelId.includes('openai.') && chats) return chatCompletions
  if (modelId.includes('mistral.')) return chats ? chatCompletions : mistral
  return chats && at(body, 'anthropic_version') !== undefined ? anthropic : undefined
}

function guessedFormat(body: JsonObject): Format {
  if (at(body, 'inputText') !== undefined) return titan
  return at(body, 'prompt') === undefined ? nova : llama
}

/** Nova tells of its prompt cache even when a request does not use it. */
export function alwaysTellsCache(format: Format): boolean {
  return format === nova
}
