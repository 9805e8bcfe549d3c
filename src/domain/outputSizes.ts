// How long a model's answers have been of late: 99 of 100 of the last thousand were no longer than `size`. Sizes are counted
// in steps of 9 %, so that neither a new answer nor the question costs a sort.
//
// An answer that ended at its cap is censored: it wanted more, nobody knows how much. It counts as twice the cap. Were it
// counted as the cap, caps could only ever shrink; so, when more than one in a hundred is cut, the cap grows.

const LAST = 1000
const STEPS_PER_DOUBLING = 8
/** Up to 16 million tokens; what is above counts as that. */
const STEPS = 24 * STEPS_PER_DOUBLING + 1
/** One answer in so many may be longer than `size` says. */
const LONGER = 100
/** Fewer answers than this say nothing of the longest in a hundred. */
const ENOUGH = 50

export class OutputSizes {
  /** The step of each of the last answers, the oldest overwritten first, and how many there are of each step. */
  readonly #last = new Uint8Array(LAST)
  readonly #counts = new Uint16Array(STEPS)
  #seen = 0

  /** One whole answer's output tokens, and the cap it had, if it had one. */
  learn(tokens: number, cap = Infinity): void {
    const slot = this.#seen % LAST
    if (this.#seen >= LAST) this.#counts[this.#last[slot]!]! -= 1
    this.#last[slot] = stepOf(tokens >= cap ? 2 * cap : tokens)
    this.#counts[this.#last[slot]!]! += 1
    this.#seen += 1
  }

  /** Tokens, rounded up to a step; undefined until enough answers have been seen. */
  get size(): number | undefined {
    if (this.#seen < ENOUGH) return undefined
    let longer = 0
    for (let step = STEPS - 1; step > 0; step -= 1) {
      longer += this.#counts[step]!
      if (longer * LONGER > Math.min(this.#seen, LAST)) return Math.ceil(2 ** (step / STEPS_PER_DOUBLING))
    }
    return 1
  }
}

function stepOf(tokens: number): number {
  return Math.min(Math.ceil(Math.log2(Math.max(1, tokens)) * STEPS_PER_DOUBLING), STEPS - 1)
}
