// This gateway's part of what all of them are served, and how many they are: what it goes by when it is alone.
import type { Clock } from '../domain/clock.ts'
import { costS, type Supply, supplyOf } from '../domain/cost.ts'
import type { PoolQuota } from '../domain/pool.ts'
import type { RoomSnapshot } from '../domain/roomSnapshot.ts'
import { type MeterState, newMeter, roll, servedPerS } from '../domain/serviceMeter.ts'

export class ServiceShare {
  readonly #clock: Clock
  /** What was served to this gateway, all classes in one. */
  readonly #own: MeterState
  #supply: Supply
  #gateways = 1
  #last = 1

  constructor(pools: PoolQuota[], clock: Clock) {
    this.#clock = clock
    this.#own = newMeter(clock.nowMs())
    this.#supply = supplyOf(pools)
  }

  /** How many gateways were heard of lately, this one included. */
  get gateways(): number {
    return this.#gateways
  }

  /** The part of all that was served lately that was served to this gateway. */
  get last(): number {
    return this.#last
  }

  configure(pools: PoolQuota[]): void {
    this.#supply = supplyOf(pools)
  }

  served(tokens: number): void {
    roll(this.#own, this.#clock.nowMs())
    this.#own.current[0]! += costS(this.#supply, tokens)
  }

  measure({ classes, gateways }: RoomSnapshot): void {
    const nowMs = this.#clock.nowMs()
    roll(this.#own, nowMs)
    const all = classes.reduce((sum, one) => sum + one.servedPerS, 0)
    this.#gateways = gateways
    this.#last = all > 0 ? Math.min(1, (servedPerS(this.#own, 0, nowMs) ?? 0) / all) : 1 / Math.max(1, gateways)
  }
}
