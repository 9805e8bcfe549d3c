// One loop a model, of this gateway: it tells the board what became of the calls, and when the lease is this gateway's it runs
// the law for all. It turns only while there is something to say or to decide: an idle model costs nothing.
import type { Clock, Dice } from '../domain/clock.ts'
import { SHUT } from '../domain/pool.ts'
import { type Report, STEP_MS, type Steering } from '../domain/poolReport.ts'
import type { PoolStanding, SteeringEvent } from '../domain/steering.ts'
import type { Law } from './law.ts'
import type { Board } from './ports.ts'
import { Signals } from './signals.ts'

export interface ControlParts {
  board: Board
  law: Law
  clock: Clock
  dice: Dice
  /** Runs the task at the end of this turn of the event loop. */
  soon: (task: () => void) => void
  onEvents: (model: string, events: SteeringEvent[]) => void
  /** Told when reports begin to fail (why), and when they no longer do (undefined). */
  onTrouble: (model: string, reason: string | undefined) => void
}

/** How things stand with a model's pools, as this gateway last heard. */
export interface ModelStanding {
  model: string
  /** This gateway ran the last step. */
  leads: boolean
  pools: PoolStanding[]
}

/** Part of a step by which gateways that began together drift apart. */
const JITTER = 0.2
/** Failures are told at once, but not more often: a storm of them must not become one of reports. */
const SHORTEST_GAP_MS = 5

export class ControlLoop {
  readonly #parts: ControlParts
  /** By model of the config. */
  readonly #loops = new Map<string, ModelLoop>()

  constructor(parts: ControlParts) {
    this.#parts = parts
  }

  of(model: string): ModelLoop {
    let loop = this.#loops.get(model)
    if (!loop) {
      loop = new ModelLoop(model, this.#parts)
      this.#loops.set(model, loop)
    }
    return loop
  }

  close(): void {
    for (const loop of this.#loops.values()) loop.close()
  }
}

export class ModelLoop {
  readonly signals: Signals
  readonly #model: string
  readonly #parts: ControlParts
  #inFlight = 0
  /** What the last report or step said. */
  #state = ''
  #leads = false
  #shutPools: Set<string> = new Set()
  #isMoving = false
  #lastSteering = ''
  /** The board's time ahead of ours, and ours when it last answered. */
  #aheadMs = 0
  #heardMs = Number.NEGATIVE_INFINITY
  #begunMs = Number.NEGATIVE_INFINITY
  #step: Promise<void> | undefined
  #isUrgent = false
  #cancelTimer: (() => void) | undefined
  #isTroubled = false
  #isClosed = false

  constructor(model: string, parts: ControlParts) {
    this.#model = model
    this.#parts = parts
    this.signals = new Signals(parts.clock, () => this.#hurry())
  }

  /** A request has come; waiting or running, there is something to report until it leaves. */
  enter(): void {
    this.#inFlight += 1
    if (!this.#cancelTimer && !this.#step) this.#stepIn(this.#jitteredMs())
  }

  leave(): void {
    this.#inFlight -= 1
  }

  /** Asks the board first when this gateway has not done so of late. */
  async standing(): Promise<ModelStanding> {
    const { clock, law } = this.#parts
    if (clock.nowMs() - this.#heardMs > 2 * STEP_MS) await this.#run()
    const pools = law.standings(this.#model, this.#state, clock.nowMs() + this.#aheadMs)
    return { model: this.#model, leads: this.#leads, pools }
  }

  close(): void {
    this.#isClosed = true
    this.#stepIn(undefined)
  }

  /** A failure: whoever decides must know before many more calls go the same way. */
  #hurry(): void {
    if (this.#isUrgent) return
    this.#isUrgent = true
    this.#parts.soon(() => {
      if (!this.#step) this.#stepIn(this.#gapMs())
    })
  }

  #run(): Promise<void> {
    this.#step ??= this.#runOnce()
    return this.#step
  }

  /** Never rejects, never overlaps with another; what a report that failed has said is lost. */
  async #runOnce(): Promise<void> {
    const { board, clock, onTrouble } = this.#parts
    this.#stepIn(undefined)
    this.#isUrgent = false
    this.#begunMs = clock.nowMs()
    try {
      const report = await board.report(this.#model, this.signals.drain())
      this.#hear(report)
      if (report.pools) await this.#steer(report)
      if (this.#isTroubled) onTrouble(this.#model, undefined)
      this.#isTroubled = false
    } catch (error) {
      this.#leads = false
      if (!this.#isTroubled) onTrouble(this.#model, String(error))
      this.#isTroubled = true
    }
    this.#step = undefined
    if (this.#isUrgent) this.#stepIn(this.#gapMs())
    else if (!this.#isAtRest()) this.#stepIn(this.#jitteredMs())
  }

  #hear(report: Report): void {
    const { clock } = this.#parts
    this.#heardMs = clock.nowMs()
    this.#aheadMs = report.nowMs - this.#heardMs
    this.#state = report.state
    this.#leads = report.pools !== undefined
    this.#isMoving &&= this.#leads
    this.#shutPools = new Set(report.gates.filter(({ gate }) => gate === SHUT).map(({ pool }) => pool))
  }

  async #steer({ state, pools = [], nowMs }: Report): Promise<void> {
    const { board, law, onEvents } = this.#parts
    const { steering, events } = law.steer(this.#model, state, pools, nowMs)
    await board.steer(this.#model, steering)
    this.#takeOver(steering)
    if (events.length > 0) onEvents(this.#model, events)
  }

  #takeOver({ state, pools }: Steering): void {
    this.#state = state
    for (const { pool, gate } of pools) {
      if (gate === SHUT) this.#shutPools.add(pool)
      else if (gate !== undefined) this.#shutPools.delete(pool)
    }
    const decided = JSON.stringify(pools.map(({ pool, believed }) => [pool, believed]))
    this.#isMoving = decided !== this.#lastSteering || pools.some(({ gate }) => gate !== undefined)
    this.#lastSteering = decided
  }

  /** A pool that is shut must be opened in time; a pace that is on its way must arrive. */
  #isAtRest(): boolean {
    return this.#inFlight === 0 && !this.signals.isYoung && this.#shutPools.size === 0 && !this.#isMoving
  }

  #stepIn(delayMs: number | undefined): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (delayMs === undefined || this.#isClosed) return
    this.#cancelTimer = this.#parts.clock.after(delayMs, () => {
      this.#cancelTimer = undefined
      void this.#run()
    })
  }

  #gapMs(): number {
    return Math.max(0, this.#begunMs + SHORTEST_GAP_MS - this.#parts.clock.nowMs())
  }

  #jitteredMs(): number {
    return STEP_MS * (1 + JITTER * (this.#parts.dice() - 0.5))
  }
}
