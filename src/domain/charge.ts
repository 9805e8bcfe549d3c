// What a call takes from a token quota, by Bedrock's own rules (AWS: "How tokens are counted in Amazon Bedrock").
// At the start Bedrock reserves input + max output; at the end it charges input + cache writes + output × burndown.
// Cache reads are free at the end.

/** Token counts of one finished call. `inputTokens` excludes what was read from or written to the prompt cache. */
export interface Usage {
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  cacheWriteTokens: number
}

/** Tokens the call is charged at its end. `outputBurndown` is the model's rate of quota tokens per output token. */
export function settledTokens(usage: Usage, outputBurndown: number): number {
  return usage.inputTokens + usage.cacheWriteTokens + usage.outputTokens * outputBurndown
}

/** Tokens the call holds while it runs: no burndown here, and the whole prompt, cached or not. */
export function reservedTokens(inputTokens: number, maxOutputTokens: number): number {
  return inputTokens + maxOutputTokens
}
