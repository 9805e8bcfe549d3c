// Prompt caching: the first call with a marked prefix writes it, calls within five minutes read it. Kept by Region and
// model, by the hash of the exact prefix, and bounded: past the bound the oldest prefix is forgotten.
import type { Prompt } from './prompt.ts'

const LIFETIME_MS = 5 * 60_000
const MAX_PREFIXES = 10_000

export interface SplitPrompt {
  /** Without what was read from or written to the cache. */
  inputTokens: number
  cacheReadTokens: number
  cacheWriteTokens: number
}

export class PromptCache {
  /** Expiry by key; a Map keeps the order of writing, so the first is the oldest. */
  readonly #prefixes = new Map<string, number>()

  /** Remembers the prompt's marked prefixes, and tells how it divides. The three parts add up to `prompt.inputTokens`. */
  take(scope: string, prompt: Prompt, nowMs: number): SplitPrompt {
    let readTokens = 0
    let markedTokens = 0
    for (const mark of prompt.cacheMarks) {
      const key = `${scope} ${mark.key}`
      if ((this.#prefixes.get(key) ?? 0) > nowMs) readTokens = mark.tokens
      markedTokens = mark.tokens
      this.#prefixes.delete(key)
      this.#prefixes.set(key, nowMs + LIFETIME_MS)
    }
    for (const key of this.#prefixes.keys()) {
      if (this.#prefixes.size <= MAX_PREFIXES) break
      this.#prefixes.delete(key)
    }
    return {
      inputTokens: prompt.inputTokens - markedTokens,
      cacheReadTokens: readTokens,
      cacheWriteTokens: markedTokens - readTokens,
    }
  }
}
