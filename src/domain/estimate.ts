// How many input tokens a request will have, before anyone counted them: text bytes ÷ the model's bytes per token,
// which is learned from settled calls as an exponentially weighted moving average.

/** What is asked before any call has settled; between Claude's older (3.5) and newer (2.8) tokenizers. [BEDROCK facts 2026-11] */
export const DEFAULT_BYTES_PER_TOKEN = 3.5
/** One call moves the average by this part of its distance. */
const WEIGHT_OF_ONE_CALL = 0.05
/** Below it, a call's fixed overhead (role markers, tool prompts) would teach more than its text. */
const SMALLEST_LESSON_BYTES = 200
/** No tokenizer is outside these; a broken usage figure must not teach nonsense. */
const FEWEST_BYTES_PER_TOKEN = 1
const MOST_BYTES_PER_TOKEN = 10

export class InputEstimate {
  #bytesPerToken: number

  constructor(bytesPerToken: number = DEFAULT_BYTES_PER_TOKEN) {
    this.#bytesPerToken = bytesPerToken
  }

  get bytesPerToken(): number {
    return this.#bytesPerToken
  }

  /** At least one token: Bedrock charges none for free. */
  tokens(textBytes: number, mediaTokens: number): number {
    return Math.max(1, Math.ceil(textBytes / this.#bytesPerToken) + mediaTokens)
  }

  /** `inputTokens`: all of the prompt, cached or not. Calls with media teach nothing: their parts can't be told apart. */
  learn(textBytes: number, mediaTokens: number, inputTokens: number): void {
    if (mediaTokens > 0 || textBytes < SMALLEST_LESSON_BYTES || inputTokens <= 0) return
    const seen = Math.min(MOST_BYTES_PER_TOKEN, Math.max(FEWEST_BYTES_PER_TOKEN, textBytes / inputTokens))
    this.#bytesPerToken += WEIGHT_OF_ONE_CALL * (seen - this.#bytesPerToken)
  }
}
