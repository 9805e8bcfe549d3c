// What outlives a call.
import type { Clock } from '../domain/clock.ts'
import type { AsyncInvocations } from './asyncInvocations.ts'
import type { PromptCache } from './promptCache.ts'
import type { Quotas } from './quotas.ts'
import type { SimulatorSettings } from './settings.ts'

export interface World {
  settings: SimulatorSettings
  readonly clock: Clock
  readonly quotas: Quotas
  readonly promptCache: PromptCache
  readonly asyncInvocations: AsyncInvocations
}
