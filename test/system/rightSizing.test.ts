// Output caps on real sockets: what an upstream is sent, what a client is told, and how many more requests a quota serves.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  type ConverseCommandInput,
  ConverseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { startTestSluice, type TestSluice } from '../support/sluice.ts'

const HELLO: ConverseCommandInput = {
  modelId: CLAUDE,
  messages: [{ role: 'user', content: [{ text: 'Tell me about "rivers", {please}. — Grüße 模' }] }],
}
const SLOW = 'simulator: { latency: { firstTokenMs: 1000, perTokenMs: 0, jitter: 0 } }'

forgetAwsEnvironment()

function oneModel(endpoint: string, outputCap: string, quotas = '', rest = ''): string {
  return `models:
  - name: any
    modelIds: ["*"]
    outputBurndown: 5
    maxOutputTokens: 65536
    outputCap: ${outputCap}
    pools: [{ name: only, region: us-east-1, endpoint: "${endpoint}"${quotas} }]
${rest}`
}

interface Client {
  sdk: BedrockRuntimeClient
  /** What the last answer's head told of its cap. */
  told(): string | undefined
}

function connect(endpoint: string, headers: Record<string, string> = {}): Client {
  const credentials = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' }
  const sdk = new BedrockRuntimeClient({ region: 'us-east-1', endpoint, credentials, maxAttempts: 1 })
  let told: string | undefined
  sdk.middlewareStack.add(
    next => args => {
      Object.assign((args.request as { headers: Record<string, string> }).headers, headers)
      return next(args)
    },
    { step: 'build' },
  )
  sdk.middlewareStack.add(
    next => async args => {
      const result = await next(args)
      told = (result.response as { headers: Record<string, string> }).headers['x-sluice-output-cap']
      return result
    },
    { step: 'deserialize', priority: 'low' },
  )
  return { sdk, told: () => told }
}

describe('what Bedrock is sent', () => {
  let bedrock: FakeBedrock
  const answer = { output: { message: { role: 'assistant', content: [{ text: 'x' }] } }, stopReason: 'end_turn' }

  before(async () => {
    bedrock = await startFakeBedrock((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ ...answer, usage: { inputTokens: 9, outputTokens: 2, totalTokens: 11 } }))
    })
  })
  after(() => bedrock.close())

  /** The bytes that arrive straight from the SDK as another client would send them, and through Sluice. */
  async function bodies(outputCap: string, input: ConverseCommandInput): Promise<{ direct: Buffer; through: Buffer }> {
    const sluice = await startTestSluice(oneModel(bedrock.url, outputCap), { bearerToken: 'of-sluice' })
    const client = connect(sluice.url)
    try {
      await client.sdk.send(new ConverseCommand(input))
      const { body: through, headers } = bedrock.seen.at(-1)!
      assert.equal(header(headers, 'content-length'), String(through.length))
      const url = `${bedrock.url}/model/m/converse`
      await fetch(url, { method: 'POST', body: JSON.stringify({ ...input, modelId: undefined }) })
      return { direct: bedrock.seen.at(-1)!.body, through }
    } finally {
      client.sdk.destroy()
      await sluice.stop(0)
    }
  }

  test('a body without a cap arrives with one, and every other byte as it was', async () => {
    const { direct, through } = await bodies('{ mode: fixed, tokens: 500 }', HELLO)
    assert.equal(through.toString(), direct.toString().replace('{', '{"inferenceConfig":{"maxTokens":500},'))
  })

  test('a body with a cap of its own, and any body when off, arrives byte for byte', async () => {
    const own = await bodies('{ mode: fixed, tokens: 500 }', { ...HELLO, inferenceConfig: { maxTokens: 9000 } })
    assert.equal(own.through.toString(), own.direct.toString())
    const off = await bodies('{ mode: off }', HELLO)
    assert.equal(off.through.toString(), off.direct.toString())
  })
})

describe('the simulator behind', () => {
  test('Converse and ConverseStream are held to the cap, and the client is told which', async () => {
    const sluice = await startTestSluice(oneModel('simulator', '{ mode: fixed, tokens: 5 }', '', AT_ONCE))
    const client = connect(sluice.url)
    try {
      const { stopReason, usage } = await client.sdk.send(new ConverseCommand(HELLO))
      assert.equal(stopReason, 'max_tokens')
      assert.equal(usage!.outputTokens, 5)
      assert.equal(client.told(), '5')
      const { stream } = await client.sdk.send(new ConverseStreamCommand(HELLO))
      assert.equal(client.told(), '5')
      const events = await Array.fromAsync(stream!)
      assert.equal(events.find(event => event.metadata)!.metadata!.usage!.outputTokens, 5)
      assert.ok(events.some(event => event.messageStop?.stopReason === 'max_tokens'))
      await client.sdk.send(new ConverseCommand({ ...HELLO, inferenceConfig: { maxTokens: 300 } }))
      assert.equal(client.told(), undefined, 'a cap of its own')
      assert.match(await metricsOf(sluice), /sluice_output_caps_total\{model="any",kind="fixed"\} 2/)
    } finally {
      client.sdk.destroy()
      await sluice.stop(0)
    }
  })

  test('a learned cap follows the answers: the fifty-first request has one of their size', async () => {
    const outputCap = '{ mode: learned, tokens: 4000, margin: 1.5, floor: 16 }'
    const sluice = await startTestSluice(oneModel('simulator', outputCap, '', AT_ONCE))
    const client = connect(sluice.url)
    try {
      let longest = 0
      for (let i = 0; i < 50; i += 1) {
        const { usage } = await client.sdk.send(new ConverseCommand(HELLO))
        assert.equal(client.told(), '4000')
        longest = Math.max(longest, usage!.outputTokens!)
      }
      await client.sdk.send(new ConverseCommand(HELLO))
      const cap = Number(client.told())
      assert.ok(cap >= 1.5 * longest && cap <= 1.5 * longest * 1.1 + 2, `${cap} for answers of up to ${longest}`)
      assert.match(await metricsOf(sluice), new RegExp(`sluice_output_cap_tokens\\{model="any"\\} ${cap}\n`))
    } finally {
      client.sdk.destroy()
      await sluice.stop(0)
    }
  })

  /** How many of 20 requests at once are answered, when none waits longer than 2 s and an answer takes one. */
  async function servedOf20(outputCap: string): Promise<number> {
    const quotas = ', tokensPerMinute: 200000'
    const sluice = await startTestSluice(oneModel('simulator', outputCap, quotas, SLOW))
    const client = connect(sluice.url, { 'x-sluice-max-wait-ms': '2000' })
    try {
      const calls = Array.from({ length: 20 }, () =>
        client.sdk.send(new ConverseCommand(HELLO)).then(
          () => 1,
          (error: BedrockRuntimeServiceException) => {
            assert.equal(error.name, 'ThrottlingException')
            assert.ok(error.$response!.headers['x-sluice-refusal'], 'Sluice refused, not Bedrock')
            return 0
          },
        ),
      )
      const served = (await Promise.all(calls)).reduce<number>((sum, one) => sum + one, 0)
      const counts = await fetch(`${sluice.simulatorUrl}/_simulator`).then(reply => reply.text())
      assert.doesNotMatch(counts, /"throttledByTokens":[1-9]/)
      return served
    } finally {
      client.sdk.destroy()
      await sluice.stop(0)
    }
  }

  test('a quota of 200k tokens serves all of 20 requests at once with caps, and none without: the first would be saved for', async t => {
    const [without, withCaps] = await Promise.all(['{ mode: off }', '{ mode: fixed, tokens: 150 }'].map(servedOf20))
    t.diagnostic(`of 20 requests at once: ${without} served without caps, ${withCaps} with`)
    assert.equal(without, 0)
    assert.equal(withCaps, 20)
  })

  test('while tokens are scarce the caps of low requests shrink to the floor, their own too; those of others do not', async () => {
    const outputCap = '{ mode: fixed, tokens: 600, floor: 32, saturation: 0.1 }'
    const quotas = ', tokensPerMinute: 300000'
    const simulator = 'simulator: { answerTokens: 100, latency: { firstTokenMs: 0, perTokenMs: 0, jitter: 0 } }'
    const sluice = await startTestSluice(oneModel('simulator', outputCap, quotas, simulator))
    const normal = connect(sluice.url)
    const low = connect(sluice.url, { 'x-sluice-priority': 'low' })
    const own = { ...HELLO, inferenceConfig: { maxTokens: 500 } }
    try {
      for (let i = 0; i < 3; i += 1) await normal.sdk.send(new ConverseCommand(HELLO))
      // The first to ask finds nothing known yet.
      await low.sdk.send(new ConverseCommand(HELLO))
      assert.equal(low.told(), '600')
      const shrunk = await low.sdk.send(new ConverseCommand(own))
      assert.equal(low.told(), '32')
      assert.equal(shrunk.usage!.outputTokens, 32)
      await low.sdk.send(new ConverseCommand(HELLO))
      assert.equal(low.told(), '32')
      await normal.sdk.send(new ConverseCommand(own))
      assert.equal(normal.told(), undefined)
      assert.match(await metricsOf(sluice), /sluice_output_caps_total\{model="any",kind="shrunk"\} 2/)
    } finally {
      for (const { sdk } of [normal, low]) sdk.destroy()
      await sluice.stop(0)
    }
  })
})

test('/status advises on caps that are far larger than outputs', async () => {
  const sluice = await startTestSluice(oneModel('simulator', '{ mode: off }', ', tokensPerMinute: 2000000', AT_ONCE))
  const client = connect(sluice.url)
  try {
    for (let i = 0; i < 4; i += 1) await client.sdk.send(new ConverseCommand(HELLO))
    const status = (await fetch(`${sluice.url}/status`).then(reply => reply.json())) as {
      models: [{ advice: string[] }]
    }
    assert.match(status.models[0].advice.join(), /^Of late requests reserved \d+ times/)
  } finally {
    client.sdk.destroy()
    await sluice.stop(0)
  }
})

function metricsOf(sluice: TestSluice): Promise<string> {
  return fetch(`${sluice.url}/metrics`).then(reply => reply.text())
}
