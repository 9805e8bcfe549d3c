// The users of a fleet: AWS SDK clients of unequal greed that go through all gateways in turn, and what they heard.
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { systemClock } from '../../src/system.ts'
import type { ChildSluice } from '../support/childSluice.ts'

const MAX_TOKENS = 200

export interface Tally {
  isCounting: boolean
  isOver: boolean
  answered: Map<string, number>
  errors: Record<string, number>
  waitsMs: number[]
}

export function newTally(): Tally {
  return { isCounting: false, isOver: false, answered: new Map(), errors: {}, waitsMs: [] }
}

/** One user's calls: `concurrency` at a time, over all living gateways in turn, each with a connection of its own. */
export function user(name: string, concurrency: number, living: ChildSluice[], tally: Tally): Promise<unknown> {
  const clients = new Map<string, BedrockRuntimeClient>()
  const clientOf = ({ url }: ChildSluice) => {
    const known = clients.get(url) ?? newClient(url, name, tally)
    clients.set(url, known)
    return known
  }
  let turn = name.length
  const loop = async () => {
    while (!tally.isOver) {
      turn += 1
      const gateway = living[turn % living.length]!
      const failure = await call(clientOf(gateway))
      // What was in flight in a gateway that was killed is lost with it.
      if (failure && !living.includes(gateway)) continue
      if (!tally.isCounting) continue
      if (failure) tally.errors[failure] = (tally.errors[failure] ?? 0) + 1
      else tally.answered.set(name, (tally.answered.get(name) ?? 0) + 1)
    }
  }
  return Promise.all(Array.from({ length: concurrency }, loop)).finally(() => {
    for (const client of clients.values()) client.destroy()
  })
}

function newClient(url: string, name: string, tally: Tally): BedrockRuntimeClient {
  const client = new BedrockRuntimeClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    maxAttempts: 1,
  })
  client.middlewareStack.add(
    next => async args => {
      const { headers } = args.request as { headers: Record<string, string> }
      headers['x-sluice-user'] = name
      const result = await next(args)
      const answer = (result.response as { headers: Record<string, string> }).headers
      if (tally.isCounting) tally.waitsMs.push(Number(answer['x-sluice-wait-ms']))
      return result
    },
    { step: 'build' },
  )
  return client
}

async function call(client: BedrockRuntimeClient): Promise<string | undefined> {
  try {
    await client.send(
      new ConverseCommand({
        modelId: 'anthropic.claude-test-v1:0',
        messages: [{ role: 'user', content: [{ text: 'Tell me a story about a sluice. '.repeat(20) }] }],
        inferenceConfig: { maxTokens: MAX_TOKENS },
      }),
    )
    return undefined
  } catch (error) {
    const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } }
    return `${name} ${$metadata?.httpStatusCode ?? ''}`.trim()
  }
}

/** From two calls at a time to six. */
export function greed(index: number): number {
  return 2 + ((index * index) % 8)
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => systemClock.after(ms, resolve))
}
