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
