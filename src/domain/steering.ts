// One step of the control loop of a model: from what all gateways saw of its pools since the last step to what each pool's
// quota is believed to be, and who may pass. Pure: state is text that goes from step to step, and from gateway to gateway.
//
// A step that comes late (the loop had nothing to say, or its gateway died) has its whole time to forget in, and a second
// at most to grow or to be held back in: nothing seen while nobody looked is proof of a higher rate.
import { stepAimd } from './aimd.ts'
import {
  admittedPart,
  type BreakerReason,
  type BreakerState,
  type BreakerStep,
  failuresToShut,
  stepBreaker,
} from './breaker.ts'
import type { Dice } from './clock.ts'
import type { Feedback } from './episode.ts'
import { pacedPerMinute, stepPace } from './pace.ts'
import type { Dimension } from './pool.ts'
import type { PoolReport, Steering } from './poolReport.ts'
import { type Law, type PoolState, readState, type SteeringSettings, writeState } from './steeringState.ts'
import { type Binding, DIMENSIONS, diagnosed, metered } from './useMeter.ts'

export type { SteeringSettings } from './steeringState.ts'

/** For logs and metrics. */
export type SteeringEvent =
  | { kind: 'cut'; pool: string; dimension: Dimension; fromPerMinute: number; toPerMinute: number }
  | { kind: 'breaker'; pool: string; from: BreakerState['kind']; to: BreakerState['kind']; reason: BreakerReason }

/** How things stand with one pool, for /status and metrics. */
export interface PoolStanding {
  pool: string
  pace: { requests?: PaceStanding; tokens?: PaceStanding }
  /** Times are the ledger's. `reason`: why it tripped; absent when it is closed. */
  breaker: { state: BreakerState['kind']; sinceMs: number; opensInMs?: number; reason?: BreakerReason }
  binding: Binding
}

export interface PaceStanding {
  configuredPerMinute: number
  /** Learned. */
  believedPerMinute: number
  /** What may pass: less the back-off while nothing is accepted, and the breaker's ramp. */
  pacedPerMinute: number
  /** Since this pool's quota was configured. */
  cuts: number
  /** How long it has grown without a throttle; 0 for laws whose growth does not depend on it. */
  quietS: number
  isBackingOff: boolean
}

/** A smaller change of what is believed waits for the next telling. */
const TOLD_CHANGE = 0.001
/** A room that was configured anew has forgotten what is believed of its pools. */
const TOLD_EVERY_MS = 5_000

/** `steering.pools` has only the pools of which there is something to tell; `steering.state` has to be kept every time. */
export function steer(
  state: string,
  reports: PoolReport[],
  settings: SteeringSettings,
  nowMs: number,
  dice: Dice,
): { steering: Steering; events: SteeringEvent[] } {
  const { asOfMs, pools, others } = readState(state, settings, nowMs)
  const steering: Steering = { state: '', pools: [] }
  const events: SteeringEvent[] = []
  const after = pools.map(before => {
    const report = reports.find(one => one.pool === before.name)
    if (!report) return before
    const stepped = stepPool(before, report, settings, { elapsedMs: nowMs - asOfMs, nowMs, dice })
    events.push(...stepped.events)
    const { pool, told } = tell(stepped.pool, stepped.gate, report.failedInRow, settings, nowMs)
    if (told) steering.pools.push(told)
    return pool
  })
  // Gateways are reloaded one after another: what the room has and these settings do not is for the next that leads.
  const kept = others.filter(({ name }) => reports.some(report => report.pool === name))
  steering.state = writeState({ asOfMs: nowMs, pools: after, others: kept })
  return { steering, events }
}

/** `state` as the last step left it; '' is how things stand before the first. */
export function standings(state: string, settings: SteeringSettings, nowMs: number): PoolStanding[] {
  return readState(state, settings, nowMs).pools.map((pool, i) => {
    const { breaker } = pool
    const pace: PoolStanding['pace'] = {}
    for (const dimension of DIMENSIONS) {
      const law = pool[dimension]
      if (law) pace[dimension] = paceStanding(law, breaker, settings, nowMs)
    }
    return {
      pool: pool.name,
      pace,
      breaker: {
        state: breaker.kind,
        sinceMs: breaker.sinceMs,
        ...(breaker.kind === 'shut' && { opensInMs: Math.max(0, Math.ceil(breaker.opensAtMs - nowMs)) }),
        ...(breaker.kind !== 'closed' && { reason: breaker.cause }),
      },
      binding: diagnosed(pool.meter, settings.pools[i]!, nowMs),
    }
  })
}

interface Moment {
  elapsedMs: number
  nowMs: number
  dice: Dice
}

function stepPool(
  before: PoolState,
  report: PoolReport,
  settings: SteeringSettings,
  { elapsedMs, nowMs, dice }: Moment,
): { pool: PoolState; gate: number | undefined; events: SteeringEvent[] } {
  const { counts } = report
  const throttled = throttles(before, report)
  const breaker = stepBreaker(
    before.breaker,
    {
      accepted: counts.accepted,
      throttled: counts.throttledRequests + counts.throttledTokens + counts.throttledUnclear,
      succeeded: counts.succeeded,
      failed: counts.failed,
      unheard: counts.unheard,
      failedInRow: report.failedInRow,
      gate: report.gate,
    },
    settings.breaker,
    nowMs,
    dice,
  )
  const events = transition(before, breaker)
  const pool = { ...before, breaker: breaker.state }
  for (const dimension of DIMENSIONS) {
    const law = before[dimension]
    if (!law) continue
    // While the breaker holds back, that the bucket was the limit says nothing about the rate.
    const limited = report.limited[dimension] && before.breaker.kind === 'closed'
    const amount = dimension === 'requests' ? counts.accepted : counts.tokens
    const feedback = { accepted: counts.accepted, amount, throttled: throttled[dimension], limited, elapsedMs, nowMs }
    const after = stepLaw(law, feedback, settings)
    pool[dimension] = after
    if (after.cuts > law.cuts) {
      const rates = { fromPerMinute: law.ratePerMinute, toPerMinute: after.ratePerMinute }
      events.push({ kind: 'cut', pool: before.name, dimension, ...rates })
    }
  }
  const seen = (dimension: Dimension, used: number) => ({
    used,
    believedPerMinute: before[dimension]?.ratePerMinute,
    limited: report.limited[dimension],
    throttled: throttled[dimension],
  })
  const sightings = { requests: seen('requests', counts.sent), tokens: seen('tokens', counts.tokens) }
  pool.meter = metered(before.meter, sightings, elapsedMs, nowMs)
  return { pool, gate: breaker.gate, events }
}

/** By dimension; those that name none belong to the emptier bucket. */
function throttles({ requests, tokens }: PoolState, { counts, fill }: PoolReport): Record<Dimension, number> {
  const isOfRequests = requests && (!tokens || fill.requests <= fill.tokens)
  return {
    requests: counts.throttledRequests + (isOfRequests ? counts.throttledUnclear : 0),
    tokens: counts.throttledTokens + (isOfRequests ? 0 : counts.throttledUnclear),
  }
}

function transition({ name, breaker }: PoolState, { state, reason }: BreakerStep): SteeringEvent[] {
  return reason ? [{ kind: 'breaker', pool: name, from: breaker.kind, to: state.kind, reason }] : []
}

function stepLaw(law: Law, feedback: Feedback, { aimd }: SteeringSettings): Law {
  if (law.kind === 'adaptive') return stepPace(law, feedback)
  return law.kind === 'aimd' ? stepAimd(law, feedback, aimd) : law
}

/** What to tell the room of the pool, and the pool that remembers it. */
function tell(
  pool: PoolState,
  gate: number | undefined,
  failedInRow: number,
  settings: SteeringSettings,
  nowMs: number,
): { pool: PoolState; told?: Steering['pools'][number] } {
  const paced = (dimension: Dimension) => {
    const law = pool[dimension]
    return law ? pacedNow(law, pool.breaker, settings, nowMs) : 0
  }
  const failures = failuresToShut(pool.breaker, failedInRow, settings.breaker)
  const now = { requests: paced('requests'), tokens: paced('tokens'), failures, atMs: nowMs }
  const { told } = pool
  const isNews =
    failures !== told.failures || DIMENSIONS.some(one => Math.abs(now[one] - told[one]) > TOLD_CHANGE * told[one])
  const isDue = nowMs - told.atMs >= TOLD_EVERY_MS || nowMs < told.atMs
  if (!isNews && !isDue && gate === undefined) return { pool }
  const believed = {
    ...(pool.requests && { requestsPerMinute: now.requests }),
    ...(pool.tokens && { tokensPerMinute: now.tokens }),
  }
  return {
    pool: { ...pool, told: now },
    told: { pool: pool.name, believed, failures, ...(gate !== undefined && { gate }) },
  }
}

/** Probes are counted, so nothing else need slow them down. */
function pacedNow(law: Law, breaker: BreakerState, settings: SteeringSettings, nowMs: number): number {
  if (breaker.kind === 'shut' || breaker.kind === 'half-open') return law.ratePerMinute
  const paced = law.kind === 'adaptive' ? pacedPerMinute(law) : law.ratePerMinute
  return paced * admittedPart(breaker, settings.breaker, nowMs)
}

function paceStanding(law: Law, breaker: BreakerState, settings: SteeringSettings, nowMs: number): PaceStanding {
  return {
    configuredPerMinute: law.quotaPerMinute,
    believedPerMinute: law.ratePerMinute,
    pacedPerMinute: pacedNow(law, breaker, settings, nowMs),
    cuts: law.cuts,
    quietS: law.kind === 'adaptive' ? law.quietS : 0,
    isBackingOff: law.kind === 'adaptive' && pacedPerMinute(law) < law.ratePerMinute,
  }
}
