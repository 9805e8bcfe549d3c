// The pools of one model, and what they come to together.
import { type Supply, supplyOf } from './cost.ts'
import { Pool } from './pool.ts'
import { mostTokens, type PoolChange, type RoomSettings } from './room.ts'
import { isBarred, type Ticket } from './ticket.ts'

/** How long a ticket stays away from a pool that throttled it. */
const BAR_MS = 10_000

export class PoolBank {
  pools: Pool[]
  supply: Supply
  /** Changes whenever pools or quotas do: then every large ticket chooses its pool anew. */
  epoch = 0

  constructor({ pools, burstShare }: RoomSettings, nowMs: number) {
    this.pools = pools.map(pool => new Pool(pool.name, pool, burstShare, nowMs))
    this.supply = supplyOf(pools)
  }

  /** The largest request that any pool could ever serve. */
  get mostTokens(): number {
    return mostTokens(this.pools.map(pool => ({ tokensPerMinute: pool.mostTokens })))
  }

  get hasSavings(): boolean {
    for (const pool of this.pools) if (pool.purse > 0) return true
    return false
  }

  named(name: string): Pool | undefined {
    return this.pools.find(pool => pool.name === name)
  }

  /** New quotas and pools; those that stay keep their levels. */
  resize({ pools, burstShare }: RoomSettings, nowMs: number): void {
    this.pools = pools.map(quota => {
      const pool = this.named(quota.name)
      if (!pool) return new Pool(quota.name, quota, burstShare, nowMs)
      pool.resize(quota, burstShare, nowMs)
      return pool
    })
    this.supply = supplyOf(pools)
    this.epoch += 1
  }

  adjust({ pool: name, believed, gate }: PoolChange, nowMs: number): void {
    const pool = this.named(name)
    if (!pool) return
    if (believed) pool.pace(believed, nowMs)
    if (gate === undefined || gate === pool.gate) return
    pool.gate = gate
    this.epoch += 1
  }

  refill(nowMs: number): void {
    for (const pool of this.pools) pool.refill(nowMs)
  }

  empty(): void {
    for (const pool of this.pools) pool.empty()
  }

  /**
   * A pool threw the ticket back: it stays away from there if another can take it. When all others
   * have thrown it back lately too, it stays away from this one alone: it must not wait for a pool it was sent away from by
   * chance. And if it was a throttle, the pool rests; else its requeues would all be spent before a step of the control loop
   * can slow down.
   */
  keepAway(ticket: Ticket, poolName: string, isThrottled: boolean, nowMs: number): void {
    const others = this.pools.filter(pool => pool.name !== poolName && pool.isOpen && pool.canEverHold(ticket.tokens))
    const areAllBarred = others.every(pool => isBarred(ticket, pool.name, nowMs))
    if (areAllBarred && isThrottled) this.named(poolName)?.hold(ticket.requeues + 1, nowMs)
    if (areAllBarred) ticket.barred = []
    if (others.length > 0) ticket.barred.push({ pool: poolName, untilMs: nowMs + BAR_MS })
  }
}
