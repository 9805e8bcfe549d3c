// The built-in simulator, for pools that name no other endpoint.
import { SIMULATOR } from './bedrock/farSide.ts'
import type { Config } from './config/schema.ts'
import { type RunningSimulator, startSimulator } from './simulator/server.ts'
import type { SimulatorSettings } from './simulator/settings.ts'
import { systemClock } from './system.ts'

/** Undefined when no pool uses it. */
export async function startOwnSimulator(config: Config): Promise<RunningSimulator | undefined> {
  if (!config.models.some(model => model.pools.some(pool => pool.endpoint === SIMULATOR))) return undefined
  return startSimulator({ settings: simulatorSettings(config), clock: systemClock, host: '127.0.0.1', port: 0 })
}

/** Without quotas of its own the simulator enforces those of the pools that use it. */
export function simulatorSettings(config: Config): SimulatorSettings {
  const { quotas, ...rest } = config.simulator
  return { ...rest, quotas: quotas ?? poolQuotas(config) }
}

function poolQuotas(config: Config): SimulatorSettings['quotas'] {
  return config.models.flatMap(model =>
    model.pools
      .filter(pool => pool.endpoint === SIMULATOR)
      .map(({ region, modelId, requestsPerMinute, tokensPerMinute }) => ({
        modelIds: modelId === undefined ? model.modelIds : [modelId],
        region,
        outputBurndown: model.outputBurndown,
        maxOutputTokens: model.maxOutputTokens,
        ...(requestsPerMinute !== undefined && { requestsPerMinute }),
        ...(tokensPerMinute !== undefined && { tokensPerMinute }),
      })),
  )
}
