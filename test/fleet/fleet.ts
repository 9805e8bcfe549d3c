// A whole fleet of real processes: gateways that share a real Redis, the simulator behind them, and AWS SDK clients of
// unequal greed that go through all of them. Runs for a while, with or without something going wrong, and counts.
import { systemClock } from '../../src/system.ts'
import { type ChildSluice, startChildSimulator, startChildSluice } from '../support/childSluice.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { greed, newTally, pause, type Tally, user } from './users.ts'

export interface FleetPlan {
  gateways: number
  clients: number
  seconds: number
  /** Not counted: buckets begin empty, and clients have to get going. */
  warmUpSeconds: number
  requestsPerMinute: number
  tokensPerMinute: number
  /** What the gateways are told the quota is, times the real one: 1 when absent. */
  configured?: number
  window: 'token-bucket' | 'fixed' | 'sliding'
  /** What goes wrong, and when. */
  mishap?: { afterSeconds: number; kind: Mishap }
}

export const MISHAPS = ['kill-gateway', 'restart-redis', 'pause-redis'] as const
export type Mishap = (typeof MISHAPS)[number]

export interface FleetFigures {
  answered: number
  /** By what the client heard. */
  errors: Record<string, number>
  sends: number
  throttlesPer1000: number
  /** Of the quota that binds. */
  used: number
  /** Of the served requests of the users who always had one waiting. */
  jain: number
  backloggedUsers: number
  waitP50Ms: number
  waitP99Ms: number
  /** Lines of the gateways' logs at warn and above, by message. */
  warnings: Record<string, number>
}

const PAUSE_MS = 60_000
export async function runFleet(plan: FleetPlan): Promise<FleetFigures> {
  const redis = await startRedis()
  const simulator = await startChildSimulator(simulatorYaml(plan))
  const gateways = await Promise.all(
    Array.from({ length: plan.gateways }, () => startChildSluice(gatewayYaml(plan, simulator.url, redis.url))),
  )
  try {
    return await drive(plan, redis, simulator, gateways)
  } finally {
    for (const gateway of [...gateways, simulator]) gateway.process.kill('SIGKILL')
    await redis.stop()
  }
}

async function drive(
  plan: FleetPlan,
  redis: TestRedis,
  simulator: ChildSluice,
  gateways: ChildSluice[],
): Promise<FleetFigures> {
  const tally = newTally()
  const living = [...gateways]
  const users = Array.from({ length: plan.clients }, (_, i) => user(`user-${i}`, greed(i), living, tally))
  await pause(plan.warmUpSeconds * 1000)
  await fetch(`${simulator.url}/_simulator/counts`, { method: 'DELETE' })
  tally.isCounting = true
  const startedMs = systemClock.nowMs()
  const mishap = plan.mishap ? happen(plan.mishap, redis, living) : Promise.resolve()
  await pause(plan.seconds * 1000)
  tally.isCounting = false
  const countedMs = systemClock.nowMs() - startedMs
  const { counts } = (await (await fetch(`${simulator.url}/_simulator`)).json()) as { counts: Counts }
  tally.isOver = true
  await mishap
  await Promise.all(users)
  return figures(plan, tally, counts, countedMs, gateways)
}

async function happen(
  { afterSeconds, kind }: NonNullable<FleetPlan['mishap']>,
  redis: TestRedis,
  living: ChildSluice[],
): Promise<void> {
  await pause(afterSeconds * 1000)
  if (kind === 'kill-gateway') living.pop()!.process.kill('SIGKILL')
  else if (kind === 'restart-redis') await redis.restart()
  else {
    redis.pause()
    await pause(PAUSE_MS)
    redis.resume()
  }
}

interface Counts {
  quotas: {
    sends: number
    accepted: number
    throttledByRequests: number
    throttledByTokens: number
    tokensCharged: number
  }[]
}

function figures(
  plan: FleetPlan,
  tally: Tally,
  counts: Counts,
  countedMs: number,
  gateways: ChildSluice[],
): FleetFigures {
  const [quota] = counts.quotas
  const minutes = countedMs / 60_000
  const served = [...tally.answered.values()]
  const waits = tally.waitsMs.toSorted((a, b) => a - b)
  const { sends, accepted, throttledByRequests, throttledByTokens, tokensCharged } = quota!
  return {
    answered: served.reduce((sum, count) => sum + count, 0),
    errors: tally.errors,
    sends,
    throttlesPer1000: ((throttledByRequests + throttledByTokens) / sends) * 1000,
    used: Math.max(accepted / (plan.requestsPerMinute * minutes), tokensCharged / (plan.tokensPerMinute * minutes)),
    jain:
      served.reduce((sum, count) => sum + count, 0) ** 2 / (served.length * served.reduce((sum, n) => sum + n * n, 0)),
    backloggedUsers: served.length,
    waitP50Ms: waits[Math.floor(waits.length / 2)] ?? 0,
    waitP99Ms: waits[Math.floor(waits.length * 0.99)] ?? 0,
    warnings: warningsOf(gateways),
  }
}

function warningsOf(gateways: ChildSluice[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const line of gateways.flatMap(gateway => gateway.output().split('\n'))) {
    const message = /"msg":"([^"]+)"/.exec(line)?.[1]
    if (message) found[message] = (found[message] ?? 0) + 1
  }
  return found
}

const LATENCY = 'latency: { firstTokenMs: 150, perTokenMs: 2, jitter: 0.3 }'

function simulatorYaml(plan: FleetPlan): string {
  const { requestsPerMinute, tokensPerMinute, window } = plan
  const quota = `{ modelIds: ["*"], requestsPerMinute: ${requestsPerMinute}, tokensPerMinute: ${tokensPerMinute}, outputBurndown: 5, maxOutputTokens: 4096 }`
  return `
models:
  - { name: m, modelIds: ["*"], pools: [{ name: p, region: us-east-1, endpoint: simulator }] }
simulator: { window: ${window}, ${LATENCY}, answerTokens: 60, quotas: [${quota}] }
`
}

function gatewayYaml(plan: FleetPlan, upstream: string, redisUrl: string): string {
  const times = plan.configured ?? 1
  return `
server: { port: 0 }
redis: { url: "${redisUrl}" }
models:
  - name: claude
    modelIds: ["*"]
    outputBurndown: 5
    maxOutputTokens: 4096
    pools:
      - { name: only, region: us-east-1, endpoint: "${upstream}", requestsPerMinute: ${plan.requestsPerMinute * times}, tokensPerMinute: ${plan.tokensPerMinute * times} }
`
}
