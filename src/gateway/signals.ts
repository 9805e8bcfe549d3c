// What became of the calls sent to a model's pools since this gateway last reported: a few additions a call and no timer. A
// call that nobody has throttled for a while counts as accepted; the young ones stand in a queue until then.
import type { Clock } from '../domain/clock.ts'
import { ACCEPTED_AFTER_MS, noCounts, type PoolCounts, type PoolNews } from '../domain/poolReport.ts'
import type { ThrottleSubject } from './ports.ts'

/** Sends of one pool that may be young at once; beyond it the oldest counts as accepted already. */
const MOST_YOUNG = 10_000
/** Drops what has left the front of the queue in one piece, so that each call costs the same. */
const COMPACT_AT = 1_024

const COUNTER: Record<ThrottleSubject, 'throttledRequests' | 'throttledTokens' | 'throttledUnclear'> = {
  requests: 'throttledRequests',
  tokens: 'throttledTokens',
  unclear: 'throttledUnclear',
  day: 'throttledUnclear',
}

export class Signals {
  readonly #clock: Clock
  readonly #onFailure: () => void
  /** By pool of the config, those of earlier configs too: calls to them may still be on their way. */
  readonly #pools = new Map<string, PoolTally>()

  /** `onFailure`: there is news that must not wait for the next step. */
  constructor(clock: Clock, onFailure: () => void) {
    this.#clock = clock
    this.#onFailure = onFailure
  }

  /** A call goes out now. `tokens`: what is reserved for it. */
  sent(pool: string, tokens: number): SendSignal {
    return this.#tally(pool).sent(tokens, this.#clock.nowMs())
  }

  /** A turn in the pool was not used. */
  unused(pool: string): void {
    this.#tally(pool).add('unheard')
  }

  /** Young calls remain: there will be news though nothing happens. */
  get isYoung(): boolean {
    for (const tally of this.#pools.values()) if (tally.isYoung) return true
    return false
  }

  #tally(pool: string): PoolTally {
    let tally = this.#pools.get(pool)
    if (!tally) {
      tally = new PoolTally(this.#clock, this.#onFailure)
      this.#pools.set(pool, tally)
    }
    return tally
  }

  /** What there is to say, pools without news left out. It starts anew from nothing. */
  drain(): PoolNews[] {
    const news: PoolNews[] = []
    const nowMs = this.#clock.nowMs()
    for (const [pool, tally] of this.#pools) {
      const drained = tally.drain(nowMs)
      if (drained) news.push({ pool, ...drained })
    }
    return news
  }
}

class PoolTally {
  readonly #clock: Clock
  readonly #onFailure: () => void
  #counts = noCounts()
  /** Of the present row, since the last report: the ledger adds them up. */
  #failedInRow = 0
  /** When the first call failed since the last success; undefined: none has. */
  #rowSinceMs: number | undefined
  /** When the youngest call was sent that came out well since the last report. */
  #youngestGoodMs: number | undefined
  #hasNews = false
  #young: SendSignal[] = []
  #first = 0

  constructor(clock: Clock, onFailure: () => void) {
    this.#clock = clock
    this.#onFailure = onFailure
  }

  get isYoung(): boolean {
    return this.#first < this.#young.length
  }

  sent(tokens: number, nowMs: number): SendSignal {
    this.#age(nowMs)
    if (this.#young.length - this.#first >= MOST_YOUNG) this.#young[this.#first++]!.accepted()
    const signal = new SendSignal(this, tokens, nowMs)
    this.#young.push(signal)
    this.#counts.sent += 1
    this.#counts.tokens += tokens
    this.#hasNews = true
    return signal
  }

  add(counter: keyof PoolCounts, count = 1): void {
    this.#counts[counter] += count
    this.#hasNews = true
  }

  /** It succeeded, or has not failed for so long that it may. */
  good(sentMs: number): void {
    this.#youngestGoodMs = Math.max(this.#youngestGoodMs ?? sentMs, sentMs)
    if (this.#rowSinceMs === undefined || sentMs < this.#rowSinceMs) return
    this.#rowSinceMs = undefined
    this.#failedInRow = 0
  }

  failed(sentMs: number): void {
    this.add('failed')
    const isFirst = this.#rowSinceMs === undefined
    this.#rowSinceMs ??= this.#clock.nowMs()
    // Of those that were under way when the row began neither a success ends it nor a failure makes it longer.
    if (isFirst || sentMs >= this.#rowSinceMs) this.#failedInRow += 1
    this.#onFailure()
  }

  /** Undefined: no news. */
  drain(nowMs: number): Omit<PoolNews, 'pool'> | undefined {
    this.#age(nowMs)
    if (!this.#hasNews) return undefined
    const news = { counts: this.#counts, failedInRow: this.#failedInRow }
    const youngest = this.#youngestGoodMs
    this.#counts = noCounts()
    this.#failedInRow = 0
    this.#youngestGoodMs = undefined
    this.#hasNews = false
    return youngest === undefined ? news : { ...news, youngestGoodMs: Math.max(0, nowMs - youngest) }
  }

  /** Whoever was sent long enough ago, and is not decided yet, was accepted. */
  #age(nowMs: number): void {
    const oldEnoughMs = nowMs - ACCEPTED_AFTER_MS
    while (this.isYoung && this.#young[this.#first]!.sentMs <= oldEnoughMs) this.#young[this.#first++]!.grewOld()
    if (this.#first < this.#young.length && this.#first < COMPACT_AT) return
    this.#young.splice(0, this.#first)
    this.#first = 0
  }
}

/** One call. Each method may be called again, and in any order; what is counted once stays counted once. */
export class SendSignal {
  readonly sentMs: number
  readonly #tally: PoolTally
  #tokens: number
  #isDecided = false
  #isOver = false
  #isThrottled = false

  constructor(tally: PoolTally, tokens: number, sentMs: number) {
    this.#tally = tally
    this.#tokens = tokens
    this.sentMs = sentMs
  }

  /** The quota let it in: it is answered, or old enough. */
  accepted(): void {
    if (this.#isDecided) return
    this.#isDecided = true
    this.#tally.add('accepted')
  }

  grewOld(): void {
    if (this.#isDecided) return
    this.accepted()
    this.#tally.good(this.sentMs)
  }

  /** The quota threw it back, and charged nothing. */
  throttled(of: ThrottleSubject): void {
    this.#isDecided = true
    this.#tally.add(COUNTER[of])
    this.settled(0)
    this.#isThrottled = true
  }

  /** Bedrock answered, be it with an error of the client's own. */
  succeeded(): void {
    this.accepted()
    if (this.#isOver) return
    this.#isOver = true
    this.#tally.add('succeeded')
    this.#tally.good(this.sentMs)
  }

  /** Bedrock failed it. `isAnswered`: and said so. */
  failed(isAnswered: boolean): void {
    if (isAnswered) this.accepted()
    // A call without an answer tells nothing of the quota.
    this.#isDecided = true
    if (this.#isOver) return
    this.#isOver = true
    this.#tally.failed(this.sentMs)
  }

  /** Its client left before a word of Bedrock's. */
  abandoned(): void {
    if (this.#isOver) return
    this.#isDecided = true
    this.#isOver = true
    this.#tally.add('unheard')
  }

  /** What it was charged in the end. */
  settled(tokens: number): void {
    if (this.#isThrottled || tokens === this.#tokens) return
    this.#tally.add('tokens', tokens - this.#tokens)
    this.#tokens = tokens
  }
}
