// The AWS SDKs' adaptive retry mode, for comparison: a client-side limit on requests a second that falls to 0.7 of the measured
// rate at a throttle, grows as CUBIC does (RFC 9438), and never passes twice what was measured. It knows nothing of tokens.
// After botocore's retries/adaptive.py.

const BETA = 0.7
const SCALE = 0.4
const LEAST_PER_S = 0.5
const MEASURED_EVERY_S = 0.5
const SMOOTHING = 0.8
/** It is off until the first throttle, which is to say: as fast as the client likes. */
const BEFORE_FIRST_THROTTLE = 2
const MOST_OF_QUOTA = 10

export class AwsCubic {
  ratePerS: number
  cuts = 0
  readonly #mostPerS: number
  #measuredPerS = 0
  #count = 0
  #countedS = 0
  #mostBeforeCut = 0
  #cutAtS = 0
  #isOn = false

  constructor(quotaPerMinute: number) {
    this.ratePerS = (BEFORE_FIRST_THROTTLE * quotaPerMinute) / 60
    this.#mostPerS = (MOST_OF_QUOTA * quotaPerMinute) / 60
  }

  step(accepted: number, throttled: number, elapsedS: number, nowS: number): void {
    this.#measure(accepted + throttled, elapsedS)
    for (let i = 0; i < throttled; i++) {
      this.#mostBeforeCut = this.#isOn ? Math.min(this.#measuredPerS, this.ratePerS) : this.#measuredPerS
      this.#cutAtS = nowS
      this.#isOn = true
      this.#set(BETA * this.#mostBeforeCut)
      this.cuts += 1
    }
    if (throttled > 0 || accepted === 0 || !this.#isOn) return
    const plateauS = Math.cbrt((this.#mostBeforeCut * (1 - BETA)) / SCALE)
    this.#set(SCALE * (nowS - this.#cutAtS - plateauS) ** 3 + this.#mostBeforeCut)
  }

  #measure(count: number, elapsedS: number): void {
    this.#count += count
    this.#countedS += elapsedS
    if (this.#countedS < MEASURED_EVERY_S) return
    this.#measuredPerS = (SMOOTHING * this.#count) / this.#countedS + (1 - SMOOTHING) * this.#measuredPerS
    this.#count = 0
    this.#countedS = 0
  }

  #set(ratePerS: number): void {
    this.ratePerS = Math.max(LEAST_PER_S, Math.min(ratePerS, this.#mostPerS, 2 * this.#measuredPerS))
  }
}
