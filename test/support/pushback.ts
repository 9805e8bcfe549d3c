// What a gateway needs when Bedrock pushes back, with the defaults of the config.
import type { Clock, Dice } from '../../src/domain/clock.ts'
import type { RetrySettings } from '../../src/domain/retryBudget.ts'
import type { GatewayParts } from '../../src/gateway/gateway.ts'
import { Retries } from '../../src/gateway/retries.ts'
import { SendStage, type SendStageSettings } from '../../src/gateway/sendStage.ts'

export const RETRIES: RetrySettings = {
  maxAttempts: 4,
  baseMs: 100,
  longestMs: 20_000,
  budgetShare: 0.1,
  budgetPerS: 1,
}

export const BREAKER = {
  failures: 5,
  failureShare: 0.5,
  minCalls: 20,
  windowMs: 30_000,
  shutMs: 5_000,
  longestShutMs: 60_000,
  rampMs: 30_000,
}
export const AIMD = { start: 100, min: 10, max: 200, increase: 1.1, successes: 100, decrease: 0.5 }

export interface Surroundings {
  clock: Clock
  dice: Dice
  retries?: RetrySettings
  stages?: SendStageSettings
  onRefused?: (model: string) => void
}

export function pushbackParts({
  clock,
  dice,
  retries = RETRIES,
  stages,
  onRefused,
}: Surroundings): Pick<GatewayParts, 'retries' | 'sends'> {
  return {
    retries: new Retries({ settings: () => retries, clock, dice, ...(onRefused && { onRefused }) }),
    sends: new SendStage({ settings: stages ?? { maxSendsPerPool: 512, maxWaitingSends: 512 }, clock }),
  }
}
