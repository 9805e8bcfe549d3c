// The settings that may change while Sluice runs, and which of the others differ from what it runs with.
import { isDeepStrictEqual } from 'node:util'
import type { Config } from './config/schema.ts'
import type { LimitSettings } from './domain/limits/clientLimits.ts'
import { type ClientFinder, clientFinder, type ModelSettings, modelFinder, type PoolSettings } from './domain/model.ts'

/** Taken over by a reload; all others take a restart. */
const CHANGEABLE: ReadonlySet<string> = new Set(['models', 'clients', 'auth', 'admission', 'retries', 'breaker'])

export interface LiveSettings {
  readonly config: Config
  findModel(modelId: string): ModelSettings | undefined
  modelNamed(name: string): ModelSettings | undefined
  clientOf: ClientFinder
  /** Undefined: the client has none. */
  limitsOf(client: string): LimitSettings | undefined
  limitedClients(): ReadonlySet<string>
  pools(): PoolSettings[]
  poolOf(model: string, pool: string): PoolSettings | undefined
  take(config: Config): void
}

export function liveSettings(first: Config): LiveSettings {
  let config = first
  let findModel = modelFinder(first.models)
  let clientOf = clientFinder(first.clients)
  let limits = limitsByClient(first)
  return {
    get config() {
      return config
    },
    findModel: modelId => findModel(modelId),
    modelNamed: name => config.models.find(one => one.name === name),
    clientOf: name => clientOf(name),
    limitsOf: client => limits.get(client),
    limitedClients: () => new Set(limits.keys()),
    poolOf: (model, pool) => config.models.find(one => one.name === model)?.pools.find(one => one.name === pool),
    pools: () => config.models.flatMap(model => model.pools),
    take(next) {
      config = next
      findModel = modelFinder(next.models)
      clientOf = clientFinder(next.clients)
      limits = limitsByClient(next)
    },
  }
}

function limitsByClient({ clients }: Config): Map<string, LimitSettings> {
  return new Map(clients.flatMap(({ name, limits }) => (limits ? [[name, limits] as const] : [])))
}

/** The names of the settings that differ and that a reload does not take over. */
export function fixedSettings(running: Config, next: Config): string[] {
  return Object.keys(next)
    .filter(key => !CHANGEABLE.has(key))
    .filter(key => !isDeepStrictEqual(running[key as keyof Config], next[key as keyof Config]))
}
