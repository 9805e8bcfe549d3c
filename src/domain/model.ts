// What apps ask for, whatever the id: one waiting room, one or more pools.
import type { LimitSettings } from './limits/clientLimits.ts'
import { globMatcher } from './modelIds.ts'

export const PRIORITIES = ['high', 'normal', 'low'] as const
export type Priority = (typeof PRIORITIES)[number]

/** The unit of fairness. */
export interface Flow {
  priority: Priority
  client: string
  user: string
}

/** Who holds a key: an app or a team. */
export interface ClientSettings {
  name: string
  /** Its share of a contended model, beside those of other clients. */
  weight: number
  /** The class of a request that asks for none, and the highest it may ask for. */
  priority: Priority
  maxPriority: Priority
  limits?: LimitSettings | undefined
}

export type ClientFinder = (name: string) => ClientSettings

/** A client that the config does not name has the defaults. */
export function clientFinder(clients: ClientSettings[]): ClientFinder {
  const byName = new Map(clients.map(client => [client.name, client]))
  return name => byName.get(name) ?? { name, weight: 1, priority: 'normal', maxPriority: 'high' }
}

export interface PoolSettings {
  name: string
  region: string
  /** Replaces the requested id when the pool serves the model under another one (an inference profile). */
  modelId?: string | undefined
  /** A base URL, or `simulator`; absent: AWS's own endpoint of the Region. */
  endpoint?: string | undefined
  /** A profile of the AWS configuration files, for a pool in another account. */
  profile?: string | undefined
  requestsPerMinute?: number | undefined
  tokensPerMinute?: number | undefined
}

export interface ModelSettings {
  name: string
  modelIds: string[]
  outputBurndown: number
  /** What Bedrock reserves when a request sets no cap. */
  maxOutputTokens: number
  /** Where the learned average starts. */
  bytesPerToken: number
  pools: PoolSettings[]
  pace: PaceMode
  aimd: AimdSettings
  /** In order, when no pool is open or attempts are spent. */
  fallback: FallbackStep[]
  mockText: string
  coalesce: CoalesceScope
  outputCap: OutputCapSettings
}

export const PACES = ['adaptive', 'aimd', 'off'] as const
export type PaceMode = (typeof PACES)[number]

export const COALESCE_SCOPES = ['off', 'client', 'shared'] as const
export type CoalesceScope = (typeof COALESCE_SCOPES)[number]

export type FallbackStep = 'stale' | 'mock' | { model: string }

/** The textbook rule. `start`, `min` and `max` are per cent of the configured quota. */
export interface AimdSettings {
  start: number
  min: number
  max: number
  /** Factor after each run of `successes` accepted calls. */
  increase: number
  successes: number
  /** Factor at a throttle. */
  decrease: number
}

export const OUTPUT_CAPS = ['off', 'learned', 'fixed'] as const

/** What a request that sets no output cap is given. */
export interface OutputCapSettings {
  mode: (typeof OUTPUT_CAPS)[number]
  /** The fixed cap, and the first learned one. */
  tokens: number
  margin: number
  floor: number
  /** 0 to 1: above this use of the quota the caps of `low` requests shrink to the floor; 1: never. */
  saturation: number
}

/** An id that leads to the model; undefined when its ids are all patterns and a pool takes whatever was asked for. */
export function idToAskBy({ modelIds, pools }: Pick<ModelSettings, 'modelIds' | 'pools'>): string | undefined {
  const first = modelIds[0]!
  if (!/[*?]/.test(first)) return first
  return pools.every(pool => pool.modelId !== undefined) ? pools[0]!.modelId : undefined
}

/** The first model with a glob that fits wins. */
export function modelFinder(models: ModelSettings[]): (modelId: string) => ModelSettings | undefined {
  const globs = models.flatMap(model => model.modelIds.map(glob => ({ model, fits: globMatcher(glob) })))
  return modelId => globs.find(glob => glob.fits(modelId))?.model
}
