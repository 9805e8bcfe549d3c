// A closed loop in virtual time: four gateways send through one pool of ours to a quota they cannot see, report every 250 ms as
// the ledger's board would add it up, and one of them steps the laws. The pool is the real one, its two-speed buckets included;
// one queue stands for the waiting room, always full, with throttled requests back at its head. Set up as the prototype's
// (reference/pace.mjs), so that its figures compare.
import type { Dimension, PoolQuota } from '../../src/domain/pool.ts'
import { OPEN_TO_ALL, Pool, SHUT, TRIFLE } from '../../src/domain/pool.ts'
import { ACCEPTED_AFTER_MS, noCounts, type PoolCounts, type PoolReport, STEP_MS } from '../../src/domain/poolReport.ts'
import { type Held, HiddenQuota, type Window } from './hiddenQuota.ts'
import { bindingOf, chargedTokens, drawRequest, type Mix, type Quota, type Request, reservedTokens } from './mixes.ts'
import { VirtualTime } from './virtualTime.ts'

/** The upstream refuses everything, in its way, from `fromS` for `forS`. */
export interface Outage {
  fromS: number
  forS: number
  by: 'throttles' | 'failures'
}

export interface SetUp {
  window: Window
  hidden: Quota
  configured: PoolQuota
  mix: Mix
  /** From then on. */
  mixes?: { atS: number; mix: Mix }[]
  outage?: Outage
  /** The part of throttles that name no dimension. */
  unclear?: number
  /** Consecutive failures at which the room shuts the pool by itself. */
  failuresToShut?: number
  durationS: number
  warmUpS: number
}

/** What steers the pool. */
export interface Steerer {
  step(report: PoolReport, nowMs: number): { believed?: PoolQuota; gate?: number; cuts: Dimension[] }
}

export interface Call {
  atS: number
  requests: number
  tokens: number
}

export interface Passed {
  sends: number
  throttled: number
  /** Cuts of a dimension while the other one bound. */
  falseCuts: number
  /** Sent while the upstream was out. */
  wasted: number
  /** Each with what it was charged in the end. */
  accepted: Call[]
}

const GATEWAYS = 4
const BURST = 0.05
/** From the send to the first byte: that it succeeded is known by then. */
const FIRST_BYTE_MS = [300, 1_000] as const
const FEEDBACK_MS = [50, 300] as const
const LONGEST_NAP_MS = 250
const SHORTEST_NAP_MS = 2

export class Pushback {
  readonly passed: Passed = { sends: 0, throttled: 0, falseCuts: 0, wasted: 0, accepted: [] }
  readonly #time: VirtualTime
  readonly #setUp: SetUp
  readonly #steerer: Steerer
  readonly #pool: Pool
  readonly #hidden: Record<Dimension, HiddenQuota>
  readonly #gateways = Array.from({ length: GATEWAYS }, () => ({ counts: noCounts(), failedInRow: 0 }))
  #board = noCounts()
  #failedInRow = 0
  #limited = { requests: false, tokens: false }
  #mix: Mix
  #queue: Request[] = []
  #napUntilMs = 0

  constructor(setUp: SetUp, steerer: Steerer, seed: number) {
    this.#time = new VirtualTime(seed)
    this.#setUp = setUp
    this.#steerer = steerer
    this.#mix = setUp.mix
    this.#pool = new Pool('pool', setUp.configured, BURST, 0)
    const { window, hidden } = setUp
    this.#hidden = {
      requests: new HiddenQuota(window, hidden.requestsPerMinute),
      tokens: new HiddenQuota(window, hidden.tokensPerMinute),
    }
  }

  run(): Passed {
    const { durationS, mixes = [] } = this.#setUp
    this.#gateways.forEach((_, i) => {
      const report = () => {
        this.#report(i)
        if (i === 0) this.#step()
        this.#time.after(STEP_MS, report)
      }
      this.#time.after((STEP_MS * (i + 1)) / GATEWAYS, report)
    })
    for (const { atS, mix } of mixes)
      this.#time.after(atS * 1000, () => {
        this.#mix = mix
        this.#queue = []
      })
    this.#pump()
    this.#time.runUntil(durationS * 1000)
    return this.passed
  }

  #pump(): void {
    for (;;) {
      const { nowMs } = this.#time
      this.#pool.refill(nowMs)
      if (!this.#pool.isOpen) return
      const head = this.#queue[0] ?? drawRequest(this.#mix, this.#time.chance)
      if (this.#queue.length === 0) this.#queue.push(head)
      const waitMs = this.#pool.msUntilFits(reservedTokens(head), 0, nowMs)
      if (waitMs > 0) {
        this.#note(head)
        this.#nap(Math.min(LONGEST_NAP_MS, Math.max(SHORTEST_NAP_MS, waitMs)))
        return
      }
      this.#queue.shift()
      this.#send(head)
    }
  }

  #nap(forMs: number): void {
    const { nowMs } = this.#time
    const untilMs = nowMs + forMs
    if (this.#napUntilMs > nowMs && this.#napUntilMs <= untilMs) return
    this.#napUntilMs = untilMs
    this.#time.after(forMs, () => {
      if (this.#napUntilMs !== untilMs) return
      this.#napUntilMs = 0
      this.#pump()
    })
  }

  /** Which bucket holds the head back. */
  #note(head: Request): void {
    const { requests, tokens } = this.#pool
    const isShort = (bucket: typeof requests, amount: number) =>
      bucket !== undefined && bucket.state.level < Math.min(amount, bucket.shape.burst) - TRIFLE
    if (isShort(requests, 1)) this.#limited.requests = true
    if (isShort(tokens, reservedTokens(head))) this.#limited.tokens = true
  }

  #send(request: Request): void {
    const { nowMs, chance } = this.#time
    const gateway = this.#gateways[chance.below(GATEWAYS)]!
    const tokens = reservedTokens(request)
    const isMeasured = nowMs >= this.#setUp.warmUpS * 1000
    this.#pool.take(tokens)
    gateway.counts.sent += 1
    gateway.counts.tokens += tokens
    if (isMeasured) this.passed.sends += 1
    const refusal = this.#refusal(tokens)
    if (refusal === 'failure') {
      this.#time.after(chance.between(...FEEDBACK_MS), () => {
        gateway.counts.failed += 1
        gateway.counts.accepted += 1
        gateway.failedInRow += 1
      })
    } else if (refusal) {
      if (isMeasured) this.passed.throttled += 1
      this.#time.after(chance.between(...FEEDBACK_MS), () => {
        const isUnclear = chance.next() < (this.#setUp.unclear ?? 0)
        if (isUnclear) gateway.counts.throttledUnclear += 1
        else if (refusal === 'requests') gateway.counts.throttledRequests += 1
        else gateway.counts.throttledTokens += 1
        request.throttles += 1
        this.#pool.hold(request.throttles, this.#time.nowMs)
        this.#queue.unshift(request)
        this.#pump()
      })
    } else this.#accept(request, tokens, gateway)
  }

  #accept(request: Request, tokens: number, gateway: { counts: PoolCounts; failedInRow: number }): void {
    const { nowMs } = this.#time
    const charged = chargedTokens(request)
    this.#hidden.requests.take(1, nowMs)
    const held: Held = this.#hidden.tokens.take(tokens, nowMs)
    this.passed.accepted.push({ atS: nowMs / 1000, requests: 1, tokens: charged })
    this.#time.after(ACCEPTED_AFTER_MS, () => {
      gateway.counts.accepted += 1
    })
    this.#time.after(this.#time.chance.between(...FIRST_BYTE_MS), () => {
      gateway.counts.succeeded += 1
      gateway.failedInRow = 0
    })
    this.#time.after(request.durationMs, () => {
      this.#hidden.tokens.settle(held, charged, this.#time.nowMs)
      this.#pool.refill(this.#time.nowMs)
      this.#pool.giveBack(tokens - charged)
      gateway.counts.tokens += charged - tokens
      this.#pump()
    })
  }

  #refusal(tokens: number): Dimension | 'failure' | undefined {
    const { nowMs } = this.#time
    const { outage } = this.#setUp
    if (outage && nowMs >= outage.fromS * 1000 && nowMs < (outage.fromS + outage.forS) * 1000) {
      this.passed.wasted += 1
      return outage.by === 'failures' ? 'failure' : 'tokens'
    }
    if (!this.#hidden.requests.fits(1, nowMs)) return 'requests'
    return this.#hidden.tokens.fits(tokens, nowMs) ? undefined : 'tokens'
  }

  /** What the room does with one gateway's report. */
  #report(index: number): void {
    const gateway = this.#gateways[index]!
    const { counts, failedInRow } = gateway
    gateway.counts = noCounts()
    gateway.failedInRow = 0
    for (const name of Object.keys(counts) as (keyof PoolCounts)[]) this.#board[name] += counts[name]
    this.#failedInRow = counts.succeeded > 0 ? failedInRow : this.#failedInRow + failedInRow
    const isOver = this.#failedInRow >= (this.#setUp.failuresToShut ?? 0)
    const isOpen = this.#pool.gate === OPEN_TO_ALL
    if (this.#setUp.failuresToShut !== undefined && counts.failed > 0 && (isOver || !isOpen)) this.#pool.gate = SHUT
  }

  #step(): void {
    const { nowMs } = this.#time
    this.#pool.refill(nowMs)
    const { requests, tokens, gate } = this.#pool
    const fill = (bucket: typeof requests) => (bucket ? Math.min(1, bucket.state.level / bucket.shape.burst) : 1)
    const report: PoolReport = {
      pool: 'pool',
      counts: this.#board,
      failedInRow: this.#failedInRow,
      gate,
      limited: this.#limited,
      fill: { requests: fill(requests), tokens: fill(tokens) },
    }
    this.#board = noCounts()
    this.#limited = { requests: false, tokens: false }
    const { believed, gate: told, cuts } = this.#steerer.step(report, nowMs)
    this.passed.falseCuts += cuts.filter(one => one !== bindingOf(this.#mix, this.#setUp.hidden)).length
    if (believed) this.#pool.pace(believed, nowMs)
    if (told !== undefined) this.#pool.gate = told
    this.#pump()
  }
}
