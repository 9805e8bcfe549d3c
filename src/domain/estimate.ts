// How many input tokens a request will have, before anyone counted them: text bytes ÷ the model's bytes per token, which
// is learned from settled calls as an exponentially weighted moving average. Requests of different size are learned apart:
// fixed parts (role markers, tool prompts) are most of a small one, and would make a large one look several times larger.

/** One call moves the average by this part of its distance. */
const WEIGHT_OF_ONE_CALL = 0.05
/** No tokenizer is outside these; a broken usage figure must not teach nonsense. */
const FEWEST_BYTES_PER_TOKEN = 0.5
const MOST_BYTES_PER_TOKEN = 10
/** Sizes from 1 KB up, each four times the one before; the last has no end. */
const SIZE_CLASSES = 6

export class InputEstimate {
  readonly #bytesPerToken: number[]

  /** `bytesPerToken`: what is believed before any call has settled. */
  constructor(bytesPerToken: number) {
    this.#bytesPerToken = new Array(SIZE_CLASSES).fill(bytesPerToken)
  }

  bytesPerToken(textBytes: number): number {
    return this.#bytesPerToken[sizeClass(textBytes)]!
  }

  /** At least one token: Bedrock charges none for free. */
  tokens(textBytes: number, mediaTokens: number): number {
    return Math.max(1, Math.ceil(textBytes / this.bytesPerToken(textBytes)) + mediaTokens)
  }

  /** `inputTokens`: all of the prompt, cached or not. Calls with media teach nothing: their parts can't be told apart. */
  learn(textBytes: number, mediaTokens: number, inputTokens: number): void {
    if (mediaTokens > 0 || textBytes <= 0 || inputTokens <= 0) return
    const seen = Math.min(MOST_BYTES_PER_TOKEN, Math.max(FEWEST_BYTES_PER_TOKEN, textBytes / inputTokens))
    const believed = this.bytesPerToken(textBytes)
    this.#bytesPerToken[sizeClass(textBytes)] = believed + WEIGHT_OF_ONE_CALL * (seen - believed)
  }
}

function sizeClass(textBytes: number): number {
  const steps = Math.floor(Math.log2(Math.max(1, textBytes / 256)) / 2)
  return Math.min(steps, SIZE_CLASSES - 1)
}
