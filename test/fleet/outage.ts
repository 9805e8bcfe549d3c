// Bedrock goes away for a while under the load of several gateways and comes back: how many calls went into the outage, how
// soon the first one succeeded after it, and how many came at once.
import { systemClock } from '../../src/system.ts'
import { type ChildSluice, startChildSimulator, startChildSluice } from '../support/childSluice.ts'
import { startRedis } from '../support/redisServer.ts'
import { greed, newTally, pause, type Tally, user } from './users.ts'

export interface OutagePlan {
  gateways: number
  clients: number
  pools: 1 | 2
  requestsPerMinute: number
  outageSeconds: number
  /** How long it is watched afterwards. */
  afterSeconds: number
}

export interface OutageFigures {
  /** Calls that the first pool's Bedrock received while it was away. */
  sentInto: number
  /** What the breaker of the first pool did, in seconds since the outage began. */
  transitions: { atS: number; to: string }[]
  /** From the first probe after the outage to the first call it answered. */
  firstSuccessMs: number
  /** Calls it received in the second after it was open to all again. */
  sentInFirstSecond: number
  errors: Record<string, number>
  answered: number
}

interface Sample {
  atMs: number
  sends: number
  accepted: number
}

const WARM_UP_MS = 8_000
const SAMPLE_MS = 50

export async function runOutage(plan: OutagePlan): Promise<OutageFigures> {
  const redis = await startRedis()
  const simulators = await Promise.all(
    Array.from({ length: plan.pools }, () => startChildSimulator(simulatorYaml(plan.requestsPerMinute))),
  )
  const gateways = await Promise.all(
    Array.from({ length: plan.gateways }, () => startChildSluice(gatewayYaml(plan, simulators, redis.url))),
  )
  const tally = newTally()
  const users = Array.from({ length: plan.clients }, (_, i) => user(`user-${i}`, greed(i), gateways, tally))
  try {
    return await watch(plan, simulators[0]!, gateways, tally)
  } finally {
    tally.isOver = true
    for (const child of [...gateways, ...simulators]) child.process.kill('SIGKILL')
    await Promise.all(users)
    await redis.stop()
  }
}

async function watch(plan: OutagePlan, first: ChildSluice, gateways: ChildSluice[], tally: Tally) {
  await pause(WARM_UP_MS)
  tally.isCounting = true
  const samples: Sample[] = []
  let isOver = false
  const sampling = (async () => {
    while (!isOver) {
      samples.push(await sample(first))
      await pause(SAMPLE_MS)
    }
  })()
  await setOutage(first, true)
  const before = await sample(first)
  await pause(plan.outageSeconds * 1000)
  const after = await sample(first)
  await setOutage(first, false)
  await pause(plan.afterSeconds * 1000)
  isOver = true
  tally.isCounting = false
  await sampling
  return figures({ before, after }, samples, transitionsOf(gateways), tally)
}

interface Transition {
  atMs: number
  to: string
}

function figures(
  { before, after }: { before: Sample; after: Sample },
  samples: Sample[],
  transitions: Transition[],
  tally: Tally,
): OutageFigures {
  const found = (what: string, one: { atMs: number } | undefined) => {
    if (!one) throw new Error(`${what} was never seen: ${JSON.stringify(transitions)}`)
    return one
  }
  const probe = found(
    'a probe after the outage',
    transitions.find(one => one.atMs >= after.atMs && one.to === 'half-open'),
  )
  const success = found(
    'a success after the outage',
    samples.find(one => one.atMs >= after.atMs && one.accepted > after.accepted),
  )
  const open = found(
    'the breaker open to all again',
    transitions.find(one => one.atMs >= after.atMs && (one.to === 'ramping' || one.to === 'closed')),
  )
  const sendsAt = (atMs: number) => samples.findLast(one => one.atMs <= atMs)?.sends ?? before.sends
  return {
    sentInto: after.sends - before.sends,
    transitions: transitions.map(({ atMs, to }) => ({ atS: (atMs - before.atMs) / 1000, to })),
    firstSuccessMs: success.atMs - probe.atMs,
    sentInFirstSecond: sendsAt(open.atMs + 1000) - sendsAt(open.atMs),
    errors: tally.errors,
    answered: [...tally.answered.values()].reduce((sum, count) => sum + count, 0),
  }
}

/** What the gateways' logs say of the first pool; each step is logged by the one that made it. */
function transitionsOf(gateways: ChildSluice[]): Transition[] {
  return gateways
    .flatMap(gateway => gateway.output().split('\n'))
    .filter(line => line.includes('"pool":"pool-0"') && line.includes('"to":"'))
    .map(line => JSON.parse(line) as { time: string; to: string })
    .map(({ time, to }) => ({ atMs: Date.parse(time), to }))
    .sort((a, b) => a.atMs - b.atMs)
}

async function sample(simulator: ChildSluice): Promise<Sample> {
  const response = await fetch(`${simulator.url}/_simulator`)
  const { counts } = (await response.json()) as { counts: { quotas: { sends: number; accepted: number }[] } }
  const { sends = 0, accepted = 0 } = counts.quotas[0] ?? {}
  return { atMs: systemClock.nowMs(), sends, accepted }
}

async function setOutage(simulator: ChildSluice, outage: boolean): Promise<void> {
  await fetch(`${simulator.url}/_simulator`, { method: 'POST', body: JSON.stringify({ faults: { outage } }) })
}

function simulatorYaml(requestsPerMinute: number): string {
  return `
models:
  - { name: m, modelIds: ["*"], pools: [{ name: p, region: us-east-1, endpoint: simulator }] }
simulator:
  latency: { firstTokenMs: 150, perTokenMs: 2, jitter: 0.3 }
  answerTokens: 60
  quotas: [{ modelIds: ["*"], requestsPerMinute: ${requestsPerMinute} }]
`
}

function gatewayYaml({ requestsPerMinute }: OutagePlan, simulators: ChildSluice[], redisUrl: string): string {
  const pools = simulators.map(
    ({ url }, i) =>
      `      - { name: pool-${i}, region: us-east-1, endpoint: "${url}", requestsPerMinute: ${requestsPerMinute} }`,
  )
  return `
server: { port: 0 }
redis: { url: "${redisUrl}" }
models:
  - name: claude
    modelIds: ["*"]
    pools:
${pools.join('\n')}
`
}
