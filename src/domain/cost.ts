// What a request costs, in seconds of the model's whole quota: the dominant of its two parts. Tokens alone would give
// small requests three times their share when requests bind; the pool that happened to serve would give large ones six.
// The sums are over the CONFIGURED pools, shut ones too: a tag must never change its unit.
import type { PoolQuota } from './pool.ts'

/** A request that takes longer than this to refill is saved up for (purse.ts) instead of competing for the bucket. */
const LARGE_S = 2
const SECONDS = 60

export interface Supply {
  /** Of all pools together; Infinity when one has no such quota. */
  requestsPerS: number
  tokensPerS: number
}

export function supplyOf(pools: PoolQuota[]): Supply {
  const perS = (quotas: (number | undefined)[]) =>
    quotas.reduce<number>((sum, quota) => sum + (quota ?? Infinity), 0) / SECONDS
  return {
    requestsPerS: perS(pools.map(pool => pool.requestsPerMinute)),
    tokensPerS: perS(pools.map(pool => pool.tokensPerMinute)),
  }
}

export function costS(supply: Supply, tokens: number): number {
  return Math.max(1 / supply.requestsPerS, tokens / supply.tokensPerS)
}

export function isLarge(supply: Supply, tokens: number): boolean {
  return tokens / supply.tokensPerS > LARGE_S
}
