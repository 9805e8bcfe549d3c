// What a seed stands for: models and their settings, requests in bursts of the same and of different ones, and what goes wrong
// when. Bounds are small enough to be hit.
import type { FallbackStep, Flow, ModelSettings, PoolSettings } from '../../src/domain/model.ts'
import type { RetrySettings } from '../../src/domain/retryBudget.ts'
import type { SimulatorChange } from '../../src/simulator/settings.ts'
import { PLAIN } from '../support/models.ts'
import { TRICKS, type Trick } from './virtualBedrock.ts'
import type { Leaving } from './virtualClient.ts'
import { Chance } from './virtualTime.ts'
import type { Live } from './wholeGateway.ts'

export interface DrawnRequest {
  id: string
  atMs: number
  model: string
  operation: 'converse' | 'converse-stream' | 'count-tokens'
  body: Buffer
  flow: Flow
  maxWaitMs: number
  leaving: Leaving | undefined
  pausesMs: number
  /** How often its client asks again under the same SDK invocation id, and after how long. */
  sdkRetries: number
  sdkPauseMs: number
}

export interface Happening {
  atMs: number
  pools: string[]
  change?: SimulatorChange
  trick?: { trick: Trick; rate: number } | 'none'
  reload?: Partial<Live>
  setClockMs?: number
}

export interface Drawn {
  live: Live
  retries: RetrySettings
  stages: { maxSendsPerPool: number; maxWaitingSends: number }
  requests: DrawnRequest[]
  happenings: Happening[]
  /** When all faults have ended. */
  overMs: number
  setsClock: boolean
}

const DURATION_MS = 30_000
const WELL: SimulatorChange = {
  faults: { errorRate: 0, slowRate: 0, cutRate: 0, streamExceptionRate: 0, outage: false },
}

export function drawSchedule(seed: number): Drawn {
  const chance = new Chance(seed, 1)
  const models = drawModels(chance)
  const live: Live = { models, admission: drawAdmission(chance), breaker: drawBreaker(chance) }
  const pools = models.flatMap(model => model.pools.map(pool => pool.name))
  const setsClock = chance.next() < 0.3
  const happenings = [
    ...models.flatMap(model => model.pools.map(pool => hiddenQuota(chance, 0, pool))),
    ...drawFaults(chance, pools),
    ...drawReloads(chance, live),
    ...(setsClock ? [{ atMs: chance.between(2_000, DURATION_MS), pools: [], setClockMs: drawStep(chance) }] : []),
    { atMs: DURATION_MS, pools: [...pools, 'late'], change: { ...WELL, quotas: [] }, trick: 'none' as const },
  ]
  return {
    live,
    retries: {
      maxAttempts: 1 + chance.below(5),
      baseMs: 100,
      longestMs: chance.next() < 0.5 ? 500 : 5_000,
      budgetShare: pick(chance, [0, 0.2, 1]),
      budgetPerS: pick(chance, [0, 1, 5]),
    },
    stages: { maxSendsPerPool: 1 + chance.below(4), maxWaitingSends: chance.below(4) },
    requests: drawRequests(chance, models),
    happenings,
    overMs: DURATION_MS + 1,
    setsClock,
  }
}

function drawModels(chance: Chance): ModelSettings[] {
  const chains: FallbackStep[][] = [
    [],
    ['stale'],
    ['mock'],
    ['stale', { model: 'beta' }, 'mock'],
    [{ model: 'beta' }],
    [{ model: 'gamma' }, 'stale'],
  ]
  const model = (name: string, pools: string[]): ModelSettings => ({
    ...PLAIN,
    name,
    modelIds: [`anthropic.${name}-v1:0`],
    outputBurndown: 5,
    maxOutputTokens: 400,
    bytesPerToken: 3.5,
    pools: pools.map(pool => drawPool(chance, pool)),
    pace: pick(chance, ['adaptive', 'adaptive', 'aimd', 'off']),
    coalesce: pick(chance, ['off', 'client', 'shared']),
    fallback: pick(chance, chains).filter(step => typeof step === 'string' || step.model !== name),
    outputCap: {
      mode: pick(chance, ['off', 'learned', 'fixed']),
      tokens: 200,
      margin: 1.5,
      floor: 50,
      saturation: pick(chance, [0.3, 1]),
    },
  })
  return [model('alpha', ['a1', 'a2']), model('beta', ['b1']), model('gamma', ['c1', 'c2'])]
}

function drawPool(chance: Chance, name: string): PoolSettings {
  const requestsPerMinute = Math.round(chance.between(40, 200))
  return {
    name,
    region: 'us-east-1',
    ...(chance.next() < 0.8 && { requestsPerMinute }),
    ...(chance.next() < 0.9 && { tokensPerMinute: Math.round(chance.between(10_000, 80_000)) }),
  }
}

function hiddenQuota(chance: Chance, atMs: number, pool: PoolSettings): Happening {
  const part = pick(chance, [0, 0.3, 0.7, 1, 1.5])
  const quota = {
    modelIds: ['*'],
    outputBurndown: 5,
    maxOutputTokens: 400,
    ...(pool.requestsPerMinute !== undefined && { requestsPerMinute: part * pool.requestsPerMinute }),
    ...(pool.tokensPerMinute !== undefined && { tokensPerMinute: part * pool.tokensPerMinute }),
  }
  return { atMs, pools: [pool.name], change: { quotas: [quota], answerTokens: 40 } }
}

function drawAdmission(chance: Chance): Live['admission'] {
  const failures = 2 + chance.below(4)
  return { burst: 0.1, maxWaiting: 6 + chance.below(20), maxWaitingPerClient: 4 + chance.below(12), failures }
}

function drawBreaker(chance: Chance): Live['breaker'] {
  const failures = 2 + chance.below(4)
  const shutMs = pick(chance, [500, 2_000, 5_000])
  return { failures, failureShare: 0.5, minCalls: 6, windowMs: 10_000, shutMs, longestShutMs: 10_000, rampMs: 5_000 }
}

function drawFaults(chance: Chance, pools: string[]): Happening[] {
  const rate = () => pick(chance, [0.3, 0.7, 1])
  const kinds: (() => Pick<Happening, 'change' | 'trick'>)[] = [
    () => ({ change: { faults: { outage: true } } }),
    () => ({ change: { faults: { errorRate: rate() } } }),
    () => ({ change: { faults: { slowRate: rate(), slowMs: chance.between(1_000, 15_000) } } }),
    () => ({ change: { faults: { cutRate: rate() } } }),
    () => ({ change: { faults: { streamExceptionRate: rate() } } }),
    ...TRICKS.map(trick => () => ({ trick: { trick, rate: rate() } })),
  ]
  return Array.from({ length: 6 + chance.below(10) }).flatMap(() => {
    // Now and then it befalls them all.
    const befallen = chance.next() < 0.2 ? pools : [pick(chance, pools)]
    const what = pick(chance, kinds)()
    const atMs = chance.between(0, DURATION_MS - 1_000)
    const endMs = Math.min(DURATION_MS - 1, atMs + chance.between(300, 10_000))
    const end = what.trick ? { trick: 'none' as const } : { change: WELL }
    return [
      { atMs, pools: befallen, ...what },
      { atMs: endMs, pools: befallen, ...end },
    ]
  })
}

/** Other quotas, another pool or one fewer, other bounds, another breaker; and hidden quotas change by themselves. */
function drawReloads(chance: Chance, { models }: Live): Happening[] {
  return Array.from({ length: chance.below(4) }, () => {
    const atMs = chance.between(1_000, DURATION_MS - 1)
    if (chance.next() < 0.4) return hiddenQuota(chance, atMs, pick(chance, models[chance.below(3)]!.pools))
    const changed = models.map(model => {
      const pools = model.pools.map(pool => (chance.next() < 0.5 ? drawPool(chance, pool.name) : pool))
      if (model.name === 'alpha' && chance.next() < 0.5) pools.pop()
      if (model.name === 'alpha' && chance.next() < 0.3) pools.push(drawPool(chance, 'late'))
      return { ...model, pools }
    })
    const reload: Partial<Live> = { models: changed, admission: drawAdmission(chance), breaker: drawBreaker(chance) }
    return { atMs, pools: [], reload }
  })
}

function drawStep(chance: Chance): number {
  return (chance.next() < 0.5 ? -1 : 1) * pick(chance, [300, 1_500, 4_000, 30_000])
}

function drawRequests(chance: Chance, models: ModelSettings[]): DrawnRequest[] {
  const requests: DrawnRequest[] = []
  const most = 50 + chance.below(50)
  while (requests.length < most) {
    const atMs = chance.between(0, DURATION_MS - 2_000)
    const first = drawRequest(chance, models, atMs)
    const kind = chance.next()
    const burst = kind < 0.4 ? 1 : 2 + chance.below(6)
    for (let i = 0; i < burst; i++) {
      const near = atMs + (kind < 0.8 ? chance.between(0, 400) : 0)
      const own = drawRequest(chance, models, near)
      // Half of the crowds ask for the same, each in its own way.
      const same = kind < 0.7 ? { model: first.model, operation: first.operation, body: first.body } : {}
      const flow = chance.next() < 0.7 ? first.flow : own.flow
      requests.push({ ...own, ...same, flow, id: `q${requests.length}` })
    }
  }
  return requests
}

function drawRequest(chance: Chance, models: ModelSettings[], atMs: number): DrawnRequest {
  const text = `Question ${chance.below(5)}. ${'Lorem ipsum. '.repeat(pick(chance, [1, 1, 10, 100, 1_000]))}`
  const cap = chance.next() < 0.3 ? { inferenceConfig: { maxTokens: pick(chance, [20, 200, 5_000]) } } : {}
  const body = JSON.stringify({ messages: [{ role: 'user', content: [{ text }] }], ...cap })
  const on = pick(chance, ['arrival', 'arrival', 'turn', 'failure', 'head', 'data'] as const)
  const leavesMs = on === 'arrival' ? pick(chance, [0, 50, 500, 3_000, 10_000]) : pick(chance, [0, 5, 80])
  return {
    id: '',
    atMs,
    model: models[pick(chance, [0, 0, 0, 1, 2])]!.name,
    operation: pick(chance, ['converse', 'converse', 'converse-stream', 'converse-stream', 'count-tokens']),
    body: Buffer.from(body),
    flow: {
      priority: pick(chance, ['high', 'normal', 'normal', 'low']),
      client: pick(chance, ['heavy', 'light', 'other']),
      user: pick(chance, ['ann', 'bob']),
    },
    maxWaitMs: pick(chance, [0, 50, 1_000, 5_000, 20_000, 60_000]),
    leaving: chance.next() < 0.3 ? { on, afterMs: leavesMs * (0.5 + chance.next()) } : undefined,
    pausesMs: chance.next() < 0.15 ? chance.between(10, 1_500) : 0,
    sdkRetries: chance.next() < 0.3 ? 1 + chance.below(2) : 0,
    sdkPauseMs: chance.between(10, 3_000),
  }
}

function pick<T>(chance: Chance, choices: readonly T[]): T {
  return choices[chance.below(choices.length)]!
}
