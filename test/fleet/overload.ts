// One gateway with many times more requests at once than it may send: Sluice, the simulator and the load each in a process
// of its own. `npm run overload -- [--seconds N] [--bound N] [--times N] [--rpm N] [--first-token-ms N]` prints the figures.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startChildSimulator, startChildSluice } from '../support/childSluice.ts'

export interface OverloadPlan {
  /** stages.maxSendsPerPool, and stages.maxWaitingSends. */
  sendsBound: number
  /** Clients, as a multiple of it; each has one request under way. */
  times: number
  seconds: number
  unloadedSeconds: number
  /** The pool's quota; absent: the sends' bound alone binds. */
  requestsPerMinute?: number
  firstTokenMs: number
}

export interface LoadPlan {
  url: string
  clients: number
  seconds: number
  unloadedSeconds: number
}

interface Latency {
  p50Ms: number
  p99Ms: number
  count: number
}

export interface LoadFigures {
  /** Answered `high` requests: alone, and with everybody else. */
  unloaded: Latency
  loaded: Latency
  answered: Record<'high' | 'normal' | 'low', number>
  /** By priority, status and code. */
  refused: Record<string, number>
  /** Refusals that no SDK could make sense of, and broken answers, by what was wrong. */
  malformed: Record<string, number>
  /** From the end of the load until `high` requests are as fast as before; null: not within half a minute. */
  recoverySeconds: number | null
}

export interface OverloadFigures extends LoadFigures {
  restingMb: number
  peakMb: number
  /** After the recovery: all should have ended. */
  stages: { stage: string; depth: number; limit: number }[]
  inFlight: number
}

const LOAD = fileURLToPath(new URL('./overloadLoad.ts', import.meta.url))
const MB = 1024 * 1024

export async function runOverload(plan: OverloadPlan): Promise<OverloadFigures> {
  const simulator = await startChildSimulator(simulatorYaml(plan))
  const sluice = await startChildSluice(sluiceYaml(plan, simulator.url), { LOG_LEVEL: 'error' })
  try {
    const restingMb = sluice.residentBytes() / MB
    let peakMb = restingMb
    const sampling = setInterval(() => {
      peakMb = Math.max(peakMb, sluice.residentBytes() / MB)
    }, 100)
    const { seconds, unloadedSeconds } = plan
    const clients = plan.sendsBound * plan.times
    const figures = await load({ url: sluice.url, clients, seconds, unloadedSeconds })
    clearInterval(sampling)
    const { stages, inFlight } = (await (await fetch(`${sluice.url}/status`)).json()) as OverloadFigures
    return { ...figures, restingMb, peakMb, stages, inFlight }
  } finally {
    for (const one of [sluice, simulator]) one.process.kill('SIGKILL')
    await Promise.all([sluice.exited, simulator.exited])
  }
}

async function load(plan: LoadPlan): Promise<LoadFigures> {
  const child = spawn(process.execPath, [LOAD, JSON.stringify(plan)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  if (code !== 0) throw new Error(`the load exited with ${code}`)
  return JSON.parse(output)
}

function simulatorYaml({ firstTokenMs }: OverloadPlan): string {
  return `
models:
  - { name: m, modelIds: ["*"], pools: [{ name: p, region: us-east-1, endpoint: simulator }] }
simulator: { quotas: [], answerTokens: 60, latency: { firstTokenMs: ${firstTokenMs}, perTokenMs: 0, jitter: 0.1 } }
`
}

function sluiceYaml({ sendsBound, requestsPerMinute }: OverloadPlan, upstream: string): string {
  const quota = requestsPerMinute === undefined ? '' : `, requestsPerMinute: ${requestsPerMinute}`
  return `
models:
  - name: claude
    modelIds: ["*"]
    pools: [{ name: only, region: us-east-1, endpoint: "${upstream}"${quota} }]
admission: { maxWaiting: ${sendsBound * 4}, maxWaitingPerClient: ${sendsBound * 4} }
stages: { maxSendsPerPool: ${sendsBound}, maxWaitingSends: ${sendsBound} }
`
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      bound: { type: 'string', default: '64' },
      times: { type: 'string', default: '20' },
      rpm: { type: 'string' },
      'first-token-ms': { type: 'string', default: '200' },
    },
  })
  const figures = await runOverload({
    sendsBound: Number(values.bound),
    times: Number(values.times),
    seconds: Number(values.seconds),
    unloadedSeconds: 10,
    ...(values.rpm !== undefined && { requestsPerMinute: Number(values.rpm) }),
    firstTokenMs: Number(values['first-token-ms']),
  })
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
}
