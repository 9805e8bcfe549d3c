// What a request reserves before anyone knows what it will use.
import { reservedTokens } from '../domain/charge.ts'
import type { InputEstimate } from '../domain/estimate.ts'
import type { ModelSettings } from '../domain/model.ts'
import type { Demand } from '../wire/demand.ts'

/** Tokens: the estimated input, and the output cap or else what Bedrock reserves without one. */
export function priceOf(
  demand: Demand,
  model: ModelSettings,
  estimate: InputEstimate,
  outputCap = demand.outputCap,
): number {
  return reservedTokens(
    estimate.tokens(demand.textBytes, demand.mediaTokens),
    outputCap ?? model.maxOutputTokens * demand.answers,
  )
}
