// Embeddings inside InvokeModel: unit vectors drawn from the text, so the same text has the same vector on every replica.
import { createHash } from 'node:crypto'
import { seededDice } from '../dice.ts'
import { at, type Json, type JsonObject, listAt, textAt } from '../json.ts'
import type { Completion, Format } from './format.ts'

const MAX_DIMENSIONS = 4096
/** Cohere's own bound on the texts of a call. */
const MAX_TEXTS = 96

/** Calls that ask for a stream are refused before. */
function* nothing(): Generator<never> {}

export const titanEmbedding: Format = {
  writesText: false,
  stream: nothing,
  whole: ({ body, usage, modelId }) => {
    const stated = at(body, 'dimensions') ?? at(body, 'embeddingConfig', 'outputEmbeddingLength')
    const embedding = vector(textAt(body, 'inputText') ?? '', dimensions(stated, modelId.includes('-v1') ? 1536 : 1024))
    const byType = modelId.includes('embed-text-v2') ? { embeddingsByType: { float: embedding } } : {}
    return { embedding, ...byType, inputTextTokenCount: usage.inputTokens }
  },
}

export const cohereEmbedding: Format = {
  writesText: false,
  stream: nothing,
  whole: ({ body, requestId }: Completion): JsonObject => {
    const texts = listAt(body, 'texts')
      .filter(text => typeof text === 'string')
      .slice(0, MAX_TEXTS)
    const size = dimensions(at(body, 'output_dimension'), 1024)
    const vectors = texts.map(text => vector(text, size))
    const byType = listAt(body, 'embedding_types').length > 0
    return {
      id: requestId,
      embeddings: byType ? { float: vectors } : vectors,
      texts,
      response_type: byType ? 'embeddings_by_type' : 'embeddings_floats',
    }
  },
}

function dimensions(stated: Json | undefined, usual: number): number {
  return typeof stated === 'number' && Number.isInteger(stated) && stated > 0 ? Math.min(stated, MAX_DIMENSIONS) : usual
}

function vector(text: string, size: number): number[] {
  const dice = seededDice(createHash('sha256').update(text).digest().readInt32BE(0))
  const raw = Array.from({ length: size }, () => dice() - 0.5)
  const length = Math.hypot(...raw)
  return raw.map(value => Number((value / length).toFixed(8)))
}
