// What the best possible server could do: requests are a fluid that may be poured into any pool that can hold them, and
// every user gets the same seconds of quota per weight, or all it asks for. The common level is as high as the pools'
// requests and tokens allow, found by bisection over a linear program.
import { type Kind, meanCostS, sampleCharges } from './requests.ts'
import { maximise } from './simplex.ts'

export interface FluidPool {
  requestsPerS: number
  tokensPerS: number
  /** The largest request that a minute of its quota can hold. */
  largestTokens: number
}

export interface FluidUser {
  kind: Kind
  weight: number
  /** Requests a second, where it asks for no more. */
  demandPerS?: number | undefined
}

/** A kind's requests are not all alike: each such part of them is a fluid of its own. */
const BINS = 6
const BISECTIONS = 30

interface Fluid {
  kind: Kind
  tokens: number
}

/** Requests a second of each user. */
export function fluidRates(users: FluidUser[], pools: FluidPool[]): number[] {
  const supply = totals(pools)
  const costs = users.map(user => meanCostS(user.kind, supply.requestsPerS, supply.tokensPerS))
  const ratesAt = (level: number) =>
    users.map((user, i) => Math.min(user.demandPerS ?? Infinity, (level * user.weight) / costs[i]!))
  let low = 0
  let high = 2
  for (let i = 0; i < BISECTIONS; i += 1) {
    const level = (low + high) / 2
    if (headroom(users, ratesAt(level), pools) >= 1) low = level
    else high = level
  }
  return ratesAt(low)
}

/** How many times these rates the pools could serve. */
export function headroom(users: FluidUser[], rates: number[], pools: FluidPool[]): number {
  const fluids = [...new Set(users.map(user => user.kind))].flatMap(binsOf)
  const demand = (kind: Kind) => users.reduce((sum, user, i) => sum + (user.kind === kind ? rates[i]! : 0), 0) / BINS
  const variables = fluids.length * pools.length + 1
  const row = () => new Array<number>(variables).fill(0)
  const fits = (fluid: Fluid, pool: FluidPool) => fluid.tokens <= pool.largestTokens
  const rows = pools.flatMap((pool, p) => {
    const requests = row()
    const tokens = row()
    for (const [f, fluid] of fluids.entries()) {
      if (!fits(fluid, pool)) continue
      requests[f * pools.length + p] = 1 / pool.requestsPerS
      tokens[f * pools.length + p] = fluid.tokens / pool.tokensPerS
    }
    return [
      { coefficients: requests, limit: 1 },
      { coefficients: tokens, limit: 1 },
    ]
  })
  for (const [f, fluid] of fluids.entries()) {
    const coefficients = row()
    coefficients[variables - 1] = demand(fluid.kind)
    for (const [p, pool] of pools.entries()) if (fits(fluid, pool)) coefficients[f * pools.length + p] = -1
    rows.push({ coefficients, limit: 0 })
  }
  const objective = row()
  objective[variables - 1] = 1
  return maximise({ objective, rows }).value
}

export function totals(pools: FluidPool[]): { requestsPerS: number; tokensPerS: number } {
  return {
    requestsPerS: pools.reduce((sum, pool) => sum + pool.requestsPerS, 0),
    tokensPerS: pools.reduce((sum, pool) => sum + pool.tokensPerS, 0),
  }
}

function binsOf(kind: Kind): Fluid[] {
  const charges = sampleCharges(kind)
  return Array.from({ length: BINS }, (_, bin) => {
    const part = charges.slice((bin * charges.length) / BINS, ((bin + 1) * charges.length) / BINS)
    return { kind, tokens: part.reduce((sum, tokens) => sum + tokens, 0) / part.length }
  })
}
