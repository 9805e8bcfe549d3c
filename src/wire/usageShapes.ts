// Every provider's way of writing token counts into JSON, as one Usage. Anthropic, Nova and Converse count cached tokens
// apart from the input; OpenAI counts them inside it, so there they are subtracted.
import type { Usage } from '../domain/charge.ts'
import { isJsonObject, type JsonObject } from './json.ts'

/** The Usage of four counts; undefined when input or output is not a count. A cache count that is none is 0. */
export function countedUsage(input: unknown, output: unknown, read: unknown, write: unknown): Usage | undefined {
  if (!isCount(input) || !isCount(output)) return undefined
  return {
    inputTokens: input,
    outputTokens: output,
    cacheReadTokens: isCount(read) ? read : 0,
    cacheWriteTokens: isCount(write) ? write : 0,
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/**
 * The usage a whole response body states. `headerInput` is what the input count header said where the output one was
 * missing: enough for embeddings, whose output is no tokens.
 */
export function usageOfBody(body: unknown, headerInput?: number): Usage | undefined {
  if (!isJsonObject(body)) return undefined
  return (
    usageOfObject(body.usage) ??
    usageOfCohere(body.meta) ??
    usageOfTitan(body) ??
    countedUsage(body.prompt_token_count, body.generation_token_count, 0, 0) ??
    usageOfEmbedding(body, headerInput)
  )
}

/** The object under the key `usage`, of any provider. */
export function usageOfObject(usage: unknown): Usage | undefined {
  if (!isJsonObject(usage)) return undefined
  if (usage.inputTokens !== undefined) {
    const read = usage.cacheReadInputTokens ?? usage.cacheReadInputTokenCount
    const write = usage.cacheWriteInputTokens ?? usage.cacheWriteInputTokenCount
    return countedUsage(usage.inputTokens, usage.outputTokens, read, write)
  }
  if (isJsonObject(usage.input_tokens_details))
    return inclusive(usage.input_tokens, usage.output_tokens, usage.input_tokens_details)
  if (usage.input_tokens !== undefined) {
    const { cache_read_input_tokens: read, cache_creation_input_tokens: write } = usage
    return countedUsage(usage.input_tokens, usage.output_tokens, read, write)
  }
  if (usage.prompt_tokens !== undefined) {
    const output = usage.completion_tokens ?? (usage.total_tokens === usage.prompt_tokens ? 0 : undefined)
    return inclusive(usage.prompt_tokens, output, usage.prompt_tokens_details)
  }
  return usageOfCohere(usage)
}

/** What Bedrock itself measured: in the last chunk of every InvokeModelWithResponseStream. */
export function usageOfInvocationMetrics(metrics: unknown): Usage | undefined {
  if (!isJsonObject(metrics)) return undefined
  const { cacheReadInputTokenCount: read, cacheWriteInputTokenCount: write } = metrics
  return countedUsage(metrics.inputTokenCount, metrics.outputTokenCount, read, write)
}

function inclusive(prompt: unknown, output: unknown, details: unknown): Usage | undefined {
  const cached = isJsonObject(details) ? details : {}
  const usage = countedUsage(prompt, output, cached.cached_tokens, cached.cache_write_tokens)
  if (usage === undefined) return undefined
  const inputTokens = Math.max(0, usage.inputTokens - usage.cacheReadTokens - usage.cacheWriteTokens)
  return { ...usage, inputTokens }
}

/** `tokens` is what the model read and wrote; `billed_units` leaves out Cohere's own preamble. */
function usageOfCohere(meta: unknown): Usage | undefined {
  if (!isJsonObject(meta)) return undefined
  for (const counts of [meta.tokens, meta.billed_units]) {
    const usage = isJsonObject(counts) ? countedUsage(counts.input_tokens, counts.output_tokens, 0, 0) : undefined
    if (usage !== undefined) return usage
  }
  return undefined
}

function usageOfTitan(body: JsonObject): Usage | undefined {
  if (!Array.isArray(body.results)) return undefined
  let output = 0
  for (const result of body.results) {
    if (!isJsonObject(result) || !isCount(result.tokenCount)) return undefined
    output += result.tokenCount
  }
  return countedUsage(body.inputTextTokenCount, output, 0, 0)
}

function usageOfEmbedding(body: JsonObject, headerInput: number | undefined): Usage | undefined {
  if (body.embedding === undefined && body.embeddings === undefined && body.embeddingsByType === undefined)
    return undefined
  return countedUsage(body.inputTextTokenCount ?? headerInput, 0, 0, 0)
}
