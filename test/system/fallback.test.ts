// Each kind of fallback as the AWS SDK decodes it, in Bedrock's four ways to be asked, and what is told of it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { fallbackCounts, MOCK_TEXT, SONNET, setOutage, startTwoSizes } from '../support/outage.ts'
import { REFUSED_URL } from '../support/rawUpstream.ts'
import { startRedis } from '../support/redisServer.ts'
import { invocations, settledAfter } from '../support/settled.ts'
import { AT_ONCE } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { call, callHttp1, PROTOCOLS, until, useTestCredentials } from '../support/wire.ts'

/** What an app gets out of the SDK. */
interface Told {
  text: string
  stop: string | undefined
}

const BODY = JSON.stringify({
  anthropic_version: 'bedrock-2023-05-31',
  max_tokens: 200,
  messages: [{ role: 'user', content: 'Tell me about rivers, please.' }],
})
const ASKED = { modelId: SONNET, messages: [{ role: 'user' as const, content: [{ text: 'About rivers, please.' }] }] }

const WAYS: Record<string, (client: BedrockRuntimeClient) => Promise<Told>> = {
  async Converse(client) {
    const { output, stopReason } = await client.send(new ConverseCommand(ASKED))
    return { text: output!.message!.content![0]!.text!, stop: stopReason }
  },
  async ConverseStream(client) {
    const { stream } = await client.send(new ConverseStreamCommand(ASKED))
    const events = await Array.fromAsync(stream!)
    assert.ok(events.at(-1)!.metadata, 'the stream came to its end')
    const text = events.map(event => event.contentBlockDelta?.delta?.text ?? '').join('')
    return { text, stop: events.find(event => event.messageStop)?.messageStop?.stopReason }
  },
  async InvokeModel(client) {
    const { body } = await client.send(new InvokeModelCommand({ modelId: SONNET, body: BODY }))
    const message = JSON.parse(body.transformToString())
    return { text: message.content[0].text, stop: message.stop_reason }
  },
  async InvokeModelWithResponseStream(client) {
    const { body } = await client.send(new InvokeModelWithResponseStreamCommand({ modelId: SONNET, body: BODY }))
    const chunks = await Array.fromAsync(body!)
    const events = chunks.map(({ chunk }) => JSON.parse(Buffer.from(chunk!.bytes!).toString()))
    assert.equal(events.at(-1).type, 'message_stop')
    const text = events.map(event => event.delta?.text ?? '').join('')
    return { text, stop: events.find(event => event.delta?.stop_reason)?.delta.stop_reason }
  },
}

type Headers = Record<string, string | undefined>

/** `headers` are those of the latest answer, whatever became of it. */
function connect(sluice: TestSluice): { client: BedrockRuntimeClient; headers: () => Headers } {
  const credentials = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' }
  const client = new BedrockRuntimeClient({ region: 'us-east-1', endpoint: sluice.url, credentials, maxAttempts: 1 })
  let headers: Headers = {}
  client.middlewareStack.add(
    next => async args => {
      const result = await next(args)
      headers = (result.response as { headers: Headers }).headers
      return result
    },
    { step: 'deserialize', priority: 'low' },
  )
  return { client, headers: () => headers }
}

before(async () => {
  useTestCredentials()
})

for (const [way, ask] of Object.entries(WAYS)) {
  describe(way, () => {
    async function withSluice(
      endpoint: string,
      fallback: string,
      run: (sluice: TestSluice, client: BedrockRuntimeClient, headers: () => Headers) => Promise<void>,
    ): Promise<void> {
      const sluice = await startTwoSizes(endpoint, fallback)
      const { client, headers } = connect(sluice)
      try {
        await run(sluice, client, headers)
      } finally {
        client.destroy()
        await sluice.stop(0)
      }
    }

    test('stale: through an outage the SDK decodes what it was answered before, labelled, with its age', () =>
      withSluice('simulator', '[stale, mock]', async (sluice, client, headers) => {
        const first = await ask(client)
        assert.equal(headers()['x-sluice-fallback'], undefined)
        assert.equal(headers()['x-sluice-pool'], 'big')
        assert.equal(headers().age, undefined)
        const firstId = headers()['x-amzn-requestid']
        await setOutage(sluice, true)
        assert.deepEqual(await ask(client), first)
        const told = headers()
        assert.equal(told['x-sluice-fallback'], 'stale')
        assert.equal(told['x-sluice-pool'], undefined)
        assert.match(told.age!, /^\d$/)
        assert.notEqual(told['x-amzn-requestid'], firstId)
        await setOutage(sluice, false)
        await ask(client)
        assert.equal(headers()['x-sluice-fallback'], undefined)
      }))

    test("model: the SDK decodes another model's answer, labelled, with that model's pool", () =>
      withSluice(REFUSED_URL, '[stale, { model: haiku }, mock]', async (sluice, client, headers) => {
        const lines = await settledAfter(sluice, 2, async () => {
          const { text, stop } = await ask(client)
          assert.match(text, /\w+ \w+/)
          assert.notEqual(text, MOCK_TEXT)
          assert.equal(stop, 'end_turn')
          const told = headers()
          assert.deepEqual([told['x-sluice-fallback'], told['x-sluice-pool'], told.age], ['model', 'small', undefined])
        })
        assert.deepEqual(
          lines.map(line => [line.outcome, line.pool, line.refusal]),
          [
            ['rescued', 'big', 'upstream-unreachable'],
            ['answered', 'small', undefined],
          ],
        )
        assert.ok(lines[1]!.chargedTokens > 0, 'the other model is charged')
        const counts = await fallbackCounts(sluice)
        assert.deepEqual(counts, { 'model=sonnet,kind=model,reason=upstream-unreachable': 1 })
        const metrics = await (await fetch(`${sluice.url}/metrics`)).text()
        assert.doesNotMatch(metrics, /^sluice_refusals_total\{/m)
        assert.match(metrics, /^sluice_requests_total\{model="sonnet".*outcome="rescued",status="none"\} 1$/m)
      }))

    test('mock: the SDK decodes the placeholder, labelled', () =>
      withSluice(REFUSED_URL, '[stale, mock]', async (sluice, client, headers) => {
        const [line] = await settledAfter(sluice, 1, async () => {
          assert.deepEqual(await ask(client), { text: MOCK_TEXT, stop: 'end_turn' })
        })
        const told = headers()
        assert.deepEqual([told['x-sluice-fallback'], told['x-sluice-pool']], ['mock', undefined])
        assert.deepEqual([line!.outcome, line!.status, line!.refusal], ['answered', 200, undefined])
        assert.equal(line!.chargedTokens, 0)
        const said = sluice.logged().find(one => one.msg === 'fallback')
        const { requestId, model, kind, reason } = said!
        assert.deepEqual(
          { requestId, model, kind, reason },
          {
            requestId: line!.requestId,
            model: 'sonnet',
            kind: 'mock',
            reason: 'upstream-unreachable',
          },
        )
      }))

    test('where the chain has no mock there is none: Sluice refuses as ever', async () => {
      for (const fallback of ['[]', '[stale]', '[{ model: haiku }, stale]']) {
        await withSluice(REFUSED_URL, fallback, async (sluice, client, headers) => {
          // The small model is on the simulator.
          await setOutage(sluice, true)
          const error = await ask(client).then(
            () => assert.fail('the call was answered'),
            (thrown: BedrockRuntimeServiceException) => thrown,
          )
          assert.equal(error.name, 'ServiceUnavailableException')
          assert.equal(headers()['x-sluice-refusal'], 'upstream-unreachable')
          assert.equal(headers()['x-sluice-fallback'], undefined)
          assert.equal(headers()['x-sluice-pool'], 'big')
          assert.deepEqual(await fallbackCounts(sluice), {})
        })
      }
    })
  })
}

describe('on the wire', () => {
  const quick = (quotas: string, fallback: string) =>
    oneModel('simulator', quotas, `    fallback: ${fallback}\n${AT_ONCE}\n`)

  for (const protocol of PROTOCOLS) {
    test(`${protocol}: bytes and headers are those of the answer before, less its date, id and length`, async () => {
      const sluice = await startTestSluice(quick('', '[stale]'))
      try {
        const path = '/model/anthropic.claude-x/converse-stream'
        const first = await call(protocol, sluice.url, { path })
        await setOutage(sluice, true)
        const second = await call(protocol, sluice.url, { path })
        assert.equal(second.headers['x-sluice-fallback'], 'stale')
        assert.equal(second.status, 200)
        assert.equal(second.broken, false)
        assert.ok(first.body.equals(second.body))
        assert.equal(second.headers['content-type'], first.headers['content-type'])
        assert.equal(second.headers['content-length'], String(first.body.length))
        const other = await call(protocol, sluice.url, { path, body: '{"messages":[]}' })
        assert.equal(other.headers['x-sluice-fallback'], undefined)
        assert.ok(other.status >= 500)
      } finally {
        await sluice.stop(0)
      }
    })
  }

  test('a request without a turn is answered in its stead, and a request that is too large is told so', async () => {
    const sluice = await startTestSluice(quick('tokensPerMinute: 1000, requestsPerMinute: 1', '[mock]'))
    try {
      const headers = { 'x-sluice-max-wait-ms': '0' }
      const lines = await settledAfter(sluice, 1, async () => {
        const reply = await callHttp1(sluice.url, { headers })
        assert.deepEqual([reply.status, reply.headers['x-sluice-fallback']], [200, 'mock'])
        assert.equal(reply.headers['x-sluice-attempts'], '0')
      })
      assert.deepEqual([lines[0]!.outcome, lines[0]!.attempts], ['answered', 0])
      const [reason] = Object.keys(await fallbackCounts(sluice))
      assert.match(reason!, /^model=any,kind=mock,reason=wait-t/)
      const large = await callHttp1(sluice.url, { body: '{"messages":[],"inferenceConfig":{"maxTokens":5000}}' })
      assert.deepEqual([large.status, large.headers['x-sluice-refusal']], [400, 'cannot-fit'])
    } finally {
      await sluice.stop(0)
    }
  })

  test('a client that has its own error sees it: a 4xx is no failure of Bedrock', async () => {
    const sluice = await startTestSluice(quick('', '[mock]'))
    try {
      const reply = await callHttp1(sluice.url, { body: '{"inferenceConfig":{"maxTokens":10}}' })
      assert.equal(reply.status, 400)
      assert.equal(reply.headers['x-sluice-fallback'], undefined)
    } finally {
      await sluice.stop(0)
    }
  })

  test('vectors have no placeholder: the refusal stands', async () => {
    const sluice = await startTwoSizes(REFUSED_URL, '[mock]')
    try {
      const path = '/model/amazon.titan-embed-text-v2%3A0/invoke'
      const reply = await callHttp1(sluice.url, { path, body: '{"inputText":"a river"}' })
      assert.deepEqual([reply.status, reply.headers['x-sluice-refusal']], [502, 'upstream-unreachable'])
      assert.equal(invocations(sluice).at(-1)!.outcome, 'refused')
    } finally {
      await sluice.stop(0)
    }
  })
})

describe('with Redis', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  test('what one gateway answered another gives again; without Redis there is nothing to give', async () => {
    const rest = `redis: { url: "${redis.url}" }`
    const first = await startTwoSizes('simulator', '[stale]', rest)
    const second = await startTwoSizes(first.simulatorUrl!, '[stale]', rest)
    const path = `/model/${SONNET}/converse`
    try {
      const ready = async (sluice: TestSluice) => (await fetch(`${sluice.url}/readyz`)).json()
      for (const sluice of [first, second])
        await until(async () => ((await ready(sluice)) as { status: string }).status === 'ready', 'it is ready')
      const answered = await callHttp1(first.url, { path })
      assert.equal(answered.status, 200)
      await setOutage(first, true)
      // The answer is kept while its client goes on.
      const again = async () => {
        const reply = await callHttp1(second.url, { path })
        return reply.headers['x-sluice-fallback'] === 'stale' && reply.body.equals(answered.body)
      }
      await until(again, 'the other gateway gives it')
      await redis.kill()
      await until(async () => (await callHttp1(second.url, { path })).status >= 500, 'nothing is given', 10_000)
    } finally {
      await second.stop(0)
      await first.stop(0)
    }
  })
})
