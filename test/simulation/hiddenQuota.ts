// What Bedrock may enforce behind its wall, one dimension of it. AWS documents no window, so there are four: a token bucket
// a minute deep, one five seconds deep, a sliding minute, a fixed minute. A call holds its reservation from the start and is
// charged at its end.

export const WINDOWS = ['60 s bucket', '5 s bucket', 'sliding', 'fixed'] as const
export type Window = (typeof WINDOWS)[number]

/** One call's part of the quota. */
export interface Held {
  atMs: number
  amount: number
  isGone: boolean
}

const MINUTE_MS = 60_000
const DEPTHS_MS: Record<Window, number> = { '60 s bucket': 60_000, '5 s bucket': 5_000, sliding: 0, fixed: 0 }
const TRIFLE = 1e-6
const MOST_GONE = 5_000

export class HiddenQuota {
  readonly #window: Window
  readonly #depthMs: number
  perMinute: number
  #level: number
  #asOfMs = 0
  #log: Held[] = []
  #gone = 0
  #sum = 0

  constructor(window: Window, perMinute: number) {
    this.#window = window
    this.#depthMs = DEPTHS_MS[window]
    this.perMinute = perMinute
    this.#level = this.#depth
  }

  get #depth(): number {
    return (this.perMinute * this.#depthMs) / MINUTE_MS
  }

  fits(amount: number, nowMs: number): boolean {
    this.#sync(nowMs)
    if (this.#depthMs > 0) return this.#level >= Math.min(amount, this.#depth) - TRIFLE
    return this.#sum + Math.min(amount, this.perMinute) <= this.perMinute + TRIFLE
  }

  take(amount: number, nowMs: number): Held {
    const held = { atMs: nowMs, amount, isGone: false }
    if (this.#depthMs > 0) this.#level -= amount
    else {
      this.#sum += amount
      this.#log.push(held)
    }
    return held
  }

  /** The call ended: it holds `amount` instead. */
  settle(held: Held, amount: number, nowMs: number): void {
    this.#sync(nowMs)
    const more = amount - held.amount
    if (this.#depthMs > 0) this.#level = Math.min(this.#depth, this.#level - more)
    else if (!held.isGone) {
      held.amount += more
      this.#sum += more
    }
  }

  #sync(nowMs: number): void {
    if (this.#depthMs > 0)
      this.#level = Math.min(this.#depth, this.#level + ((nowMs - this.#asOfMs) * this.perMinute) / MINUTE_MS)
    this.#asOfMs = nowMs
    const startMs = this.#window === 'fixed' ? nowMs - (nowMs % MINUTE_MS) : nowMs - MINUTE_MS
    const isOut = ({ atMs }: Held) => (this.#window === 'fixed' ? atMs < startMs : atMs <= startMs)
    for (let held = this.#log[this.#gone]; held && isOut(held); held = this.#log[this.#gone]) {
      this.#sum -= held.amount
      held.isGone = true
      this.#gone += 1
    }
    if (this.#gone < MOST_GONE) return
    this.#log = this.#log.slice(this.#gone)
    this.#gone = 0
  }
}
