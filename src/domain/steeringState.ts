// What the steering of one model's pools remembers from step to step, as text: whichever gateway holds the lease goes on from
// where another left off. Text that this version did not write, or that was damaged, is no fault: each part that cannot be read
// starts anew, and what starts anew believes the config.
import { type AimdState, startAimd } from './aimd.ts'
import { type BreakerSettings, type BreakerState, PROBES, startBreaker, TRIP_CAUSES } from './breaker.ts'
import type { AimdSettings, PaceMode } from './model.ts'
import { type PaceState, startPace } from './pace.ts'
import type { PoolQuota } from './pool.ts'
import type { UseMeter } from './useMeter.ts'

/** Of one model. */
export interface SteeringSettings {
  pace: PaceMode
  aimd: AimdSettings
  breaker: BreakerSettings
  pools: ({ name: string } & PoolQuota)[]
}

/** `off` believes the config. */
export type Law = PaceState | AimdState | { kind: 'off'; quotaPerMinute: number; ratePerMinute: number; cuts: number }

export interface PoolState {
  name: string
  /** A dimension without a quota has no law. */
  requests?: Law
  tokens?: Law
  breaker: BreakerState
  meter: UseMeter
  /** What the room was last told of the pool, in amounts per minute; `atMs` 0: never. */
  told: { requests: number; tokens: number; failures: number; atMs: number }
}

export interface SteeringState {
  asOfMs: number
  /** In the settings' order, and no others. */
  pools: PoolState[]
  /** As they were found: of pools that another gateway's settings have. */
  others: Unread[]
}

export function readState(text: string, settings: SteeringSettings, nowMs: number): SteeringState {
  const found = parsed(text)
  const asOfMs = isRecord(found) && isNumber(found.asOfMs) ? Math.min(found.asOfMs, nowMs) : nowMs
  const entries = isRecord(found) && Array.isArray(found.pools) ? found.pools.filter(isRecord) : []
  return {
    asOfMs,
    pools: settings.pools.map(pool =>
      poolState(pool, entries.find(one => one.name === pool.name) ?? {}, settings, nowMs),
    ),
    others: entries.filter(one => !settings.pools.some(pool => pool.name === one.name)),
  }
}

export function writeState({ asOfMs, pools, others }: SteeringState): string {
  return JSON.stringify({ asOfMs, pools: [...pools, ...others] })
}

type Unread = Record<string, unknown>

function poolState(
  { name, requestsPerMinute, tokensPerMinute }: { name: string } & PoolQuota,
  found: Unread,
  settings: SteeringSettings,
  nowMs: number,
): PoolState {
  const requests = lawState(requestsPerMinute, found.requests, settings)
  const tokens = lawState(tokensPerMinute, found.tokens, settings)
  return {
    name,
    ...(requests && { requests }),
    ...(tokens && { tokens }),
    breaker: isBreaker(found.breaker) ? found.breaker : startBreaker(nowMs),
    meter: isMeter(found.meter) ? found.meter : [],
    told: isLike(found.told, NEVER_TOLD) ? found.told : NEVER_TOLD,
  }
}

/** Another law, or another quota in the config, starts anew: what was learned was a part of something else. */
function lawState(quotaPerMinute: number | undefined, found: unknown, settings: SteeringSettings): Law | undefined {
  if (quotaPerMinute === undefined) return undefined
  const fresh = startLaw(quotaPerMinute, settings)
  const isOfUse =
    fresh.kind !== 'off' && isLike(found, fresh) && found.kind === fresh.kind && found.quotaPerMinute === quotaPerMinute
  return isOfUse ? found : fresh
}

function startLaw(quotaPerMinute: number, { pace, aimd }: SteeringSettings): Law {
  if (pace === 'adaptive') return startPace(quotaPerMinute)
  if (pace === 'aimd') return startAimd(quotaPerMinute, aimd)
  return { kind: 'off', quotaPerMinute, ratePerMinute: quotaPerMinute, cuts: 0 }
}

const NEVER_TOLD = { requests: 0, tokens: 0, failures: 0, atMs: 0 }
const TALLY = { used: 0, believed: 0, limitedMs: 0, throttled: 0 }
const SLOT = { minute: 0, spanMs: 0, requests: TALLY, tokens: TALLY }
const RECENT = { slots: [{ slot: 0, calls: 0, failed: 0 }], throttledRow: 0, rowSinceMs: 0 }
const TRIPPED = { sinceMs: 0, trips: 0 }
const BREAKERS: Record<BreakerState['kind'], object> = {
  closed: { sinceMs: 0, recent: RECENT },
  shut: { ...TRIPPED, opensAtMs: 0 },
  'half-open': { ...TRIPPED, phase: 0, good: 0, bad: 0, outMs: 0 },
  ramping: { ...TRIPPED, recent: RECENT },
}
/** More than any list of ours holds. */
const MOST_ITEMS = 32

function isBreaker(found: unknown): found is BreakerState {
  if (!isRecord(found) || typeof found.kind !== 'string' || !Object.hasOwn(BREAKERS, found.kind)) return false
  const kind = found.kind as BreakerState['kind']
  if (!isLike(found, BREAKERS[kind])) return false
  if (kind === 'half-open' && PROBES[Number((found as Unread).phase)] === undefined) return false
  return kind === 'closed' || TRIP_CAUSES.some(cause => cause === (found as Unread).cause)
}

function isMeter(found: unknown): found is UseMeter {
  return isLike(found, [SLOT])
}

/** Whether everything in `example` is there, of the same type: numbers finite, lists of any length up to a bound. */
function isLike<T>(found: unknown, example: T): found is T {
  if (Array.isArray(example))
    return Array.isArray(found) && found.length <= MOST_ITEMS && found.every(one => isLike(one, example[0]))
  if (isRecord(example))
    return isRecord(found) && Object.entries(example).every(([key, value]) => isLike(found[key], value))
  return typeof example === 'number' ? isNumber(found) : typeof found === typeof example
}

function isRecord(value: unknown): value is Unread {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
