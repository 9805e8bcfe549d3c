// Bedrock fails a part of its calls, and AWS SDK clients with their default retries go straight at it, and through Sluice:
// the same clients at the same time, each half at a simulator of its own.
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { type ChildSluice, startChildSimulator, startChildSluice } from '../support/childSluice.ts'
import { pause } from './users.ts'

export interface StormPlan {
  clients: number
  seconds: number
  errorRate: number
}

export interface StormSide {
  /** Calls that clients made; each may be several attempts of the SDK. */
  calls: number
  errors: Record<string, number>
  /** What Bedrock received. */
  sends: number
}

export interface StormFigures {
  direct: StormSide
  through: StormSide & {
    /** The SDK's attempts, as Sluice received them. */
    received: number
    retries: number
  }
}

export async function runStorm(plan: StormPlan): Promise<StormFigures> {
  const [near, far] = await Promise.all([
    startChildSimulator(simulatorYaml(plan)),
    startChildSimulator(simulatorYaml(plan)),
  ])
  const sluice = await startChildSluice(sluiceYaml(far.url))
  try {
    const [direct, through] = await Promise.all([side(near.url, near, plan), side(sluice.url, far, plan)])
    const metrics = await (await fetch(`${sluice.url}/metrics`)).text()
    const received = total(metrics, 'sluice_requests_total')
    return { direct, through: { ...through, received, retries: total(metrics, 'sluice_retries_total') } }
  } finally {
    for (const child of [near, far, sluice]) child.process.kill('SIGKILL')
  }
}

async function side(url: string, simulator: ChildSluice, { clients, seconds }: StormPlan): Promise<StormSide> {
  const figures: StormSide = { calls: 0, errors: {}, sends: 0 }
  let isOver = false
  const loops = Array.from({ length: clients }, async () => {
    const client = new BedrockRuntimeClient({
      endpoint: url,
      region: 'us-east-1',
      credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    })
    while (!isOver) {
      const failure = await call(client)
      figures.calls += 1
      if (failure) figures.errors[failure] = (figures.errors[failure] ?? 0) + 1
    }
    client.destroy()
  })
  await pause(seconds * 1000)
  isOver = true
  await Promise.all(loops)
  const response = await fetch(`${simulator.url}/_simulator`)
  const { counts } = (await response.json()) as { counts: { quotas: { sends: number }[] } }
  return { ...figures, sends: counts.quotas[0]!.sends }
}

async function call(client: BedrockRuntimeClient): Promise<string | undefined> {
  try {
    await client.send(
      new ConverseCommand({
        modelId: 'anthropic.claude-test-v1:0',
        messages: [{ role: 'user', content: [{ text: 'What is a sluice?' }] }],
        inferenceConfig: { maxTokens: 100 },
      }),
    )
    return undefined
  } catch (error) {
    return (error as Error).name
  }
}

/** Of all its label sets. */
function total(metrics: string, name: string): number {
  return metrics
    .split('\n')
    .filter(line => line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

function simulatorYaml({ errorRate }: StormPlan): string {
  return `
models:
  - { name: m, modelIds: ["*"], pools: [{ name: p, region: us-east-1, endpoint: simulator }] }
simulator:
  latency: { firstTokenMs: 100, perTokenMs: 2, jitter: 0.3 }
  answerTokens: 40
  faults: { errorRate: ${errorRate} }
  quotas: [{ modelIds: ["*"], requestsPerMinute: 100000 }]
`
}

function sluiceYaml(upstream: string): string {
  return `
server: { port: 0 }
models:
  - name: claude
    modelIds: ["*"]
    pools: [{ name: only, region: us-east-1, endpoint: "${upstream}", requestsPerMinute: 100000 }]
`
}
