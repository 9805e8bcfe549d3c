// The SDKs of other makers and plain HTTP, with nothing changed but their endpoint.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createAmazonBedrock } from '@ai-sdk/amazon-bedrock'
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk'
import { ChatBedrockConverse } from '@langchain/aws'
import { embed, generateText, streamText } from 'ai'
import OpenAI from 'openai'
import { serverSentEvents } from '../support/events.ts'
import { assertCharged, CLAUDE, forgetAwsEnvironment, logged, startSimulated } from '../support/simulated.ts'
import type { TestSluice } from '../support/sluice.ts'

interface ConverseReply {
  output: { message: { content: [{ text: string }] } }
  usage: { inputTokens: number; outputTokens: number }
}

interface MessagesReply {
  content: [{ text: string }]
  usage: { input_tokens: number; output_tokens: number }
}

const PROMPT = 'Tell me about rivers, please.'
const GPT = 'openai.gpt-oss-120b-1:0'

forgetAwsEnvironment()

let sluice: TestSluice

before(async () => {
  sluice = await startSimulated()
})
after(() => sluice.stop(0))

describe("Anthropic's SDK for Bedrock", () => {
  let client: AnthropicBedrock

  before(() => {
    client = new AnthropicBedrock({
      baseURL: sluice.url,
      awsRegion: 'us-east-1',
      awsAccessKey: 'AKIDCLIENT',
      awsSecretKey: 'secret',
      maxRetries: 0,
    })
  })

  const asked = { model: CLAUDE, max_tokens: 200, messages: [{ role: 'user' as const, content: PROMPT }] }

  test('messages.create: its raw colon in the path finds the model, and the usage is what was charged', async () => {
    const { result, line } = await logged(sluice, () => client.messages.create(asked))
    const [block] = result.content
    assert.ok(block?.type === 'text' && block.text.length > 0)
    assertCharged(line, { inputTokens: result.usage.input_tokens, outputTokens: result.usage.output_tokens })
    assert.equal(line.operation, 'InvokeModel')
    assert.equal(line.user, 'AKIDCLIENT')
  })

  test('messages.stream: the text grows event by event to the final message', async () => {
    let pieces = 0
    const { result, line } = await logged(sluice, () => {
      const stream = client.messages.stream(asked)
      stream.on('text', () => {
        pieces += 1
      })
      return stream.finalMessage()
    })
    assert.ok(pieces > 1, `${pieces} text events`)
    const [block] = result.content
    assert.ok(block?.type === 'text' && block.text.length > 0)
    assertCharged(line, { inputTokens: result.usage.input_tokens, outputTokens: result.usage.output_tokens })
    assert.equal(line.operation, 'InvokeModelWithResponseStream')
  })
})

describe('the Vercel AI SDK', () => {
  const auths = {
    SigV4: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    'a bearer token': { apiKey: 'bedrock-api-key-of-the-client' },
  }
  for (const [title, auth] of Object.entries(auths)) {
    const bedrock = () => createAmazonBedrock({ baseURL: sluice.url, region: 'us-east-1', ...auth })

    test(`generateText with ${title}: text, and the usage that was charged`, async () => {
      const { result, line } = await logged(sluice, () =>
        generateText({ model: bedrock()(CLAUDE), prompt: PROMPT, maxOutputTokens: 200, maxRetries: 0 }),
      )
      assert.match(result.text, /\w+/)
      const { inputTokens, outputTokens } = result.usage
      assertCharged(line, { inputTokens: inputTokens!, outputTokens: outputTokens! })
    })

    test(`streamText with ${title}: text in several pieces, and the usage that was charged`, async () => {
      const { result, line } = await logged(sluice, async () => {
        const stream = streamText({ model: bedrock()(CLAUDE), prompt: PROMPT, maxRetries: 0 })
        const pieces = await Array.fromAsync(stream.textStream)
        return { pieces, usage: await stream.usage }
      })
      assert.ok(result.pieces.length > 1, `${result.pieces.length} pieces`)
      const { inputTokens, outputTokens } = result.usage
      assertCharged(line, { inputTokens: inputTokens!, outputTokens: outputTokens! })
    })

    test(`embed with ${title}: a vector, and the tokens that were charged`, async () => {
      const { result, line } = await logged(sluice, () =>
        embed({ model: bedrock().embeddingModel('amazon.titan-embed-text-v2:0'), value: PROMPT, maxRetries: 0 }),
      )
      assert.ok(result.embedding.length > 1)
      assertCharged(line, { inputTokens: result.usage.tokens })
    })
  }
})

describe("OpenAI's SDK", () => {
  let client: OpenAI

  before(() => {
    client = new OpenAI({ baseURL: `${sluice.url}/openai/v1`, apiKey: 'bedrock-api-key-of-the-client', maxRetries: 0 })
  })

  const messages = [{ role: 'user' as const, content: PROMPT }]

  test('chat.completions.create: a choice, and the usage that was charged', async () => {
    const { result, line } = await logged(sluice, () => client.chat.completions.create({ model: GPT, messages }))
    assert.match(result.choices[0]!.message.content!, /\w+/)
    const { prompt_tokens, completion_tokens } = result.usage!
    assertCharged(line, { inputTokens: prompt_tokens, outputTokens: completion_tokens })
  })

  test('a chat stream with include_usage: several chunks, the last with the usage that was charged', async () => {
    const { result: chunks, line } = await logged(sluice, async () =>
      Array.fromAsync(
        await client.chat.completions.create({
          model: GPT,
          messages,
          stream: true,
          stream_options: { include_usage: true },
        }),
      ),
    )
    const texts = chunks.flatMap(chunk => chunk.choices[0]?.delta.content || [])
    assert.ok(texts.length > 1, `${texts.length} chunks of text`)
    const { prompt_tokens, completion_tokens } = chunks.at(-1)!.usage!
    assertCharged(line, { inputTokens: prompt_tokens, outputTokens: completion_tokens })
  })

  test('responses.create: output text, and the usage that was charged', async () => {
    const { result, line } = await logged(sluice, () => client.responses.create({ model: GPT, input: PROMPT }))
    assert.match(result.output_text, /\w+/)
    const { input_tokens, output_tokens } = result.usage!
    assertCharged(line, { inputTokens: input_tokens, outputTokens: output_tokens })
  })

  test('a responses stream: several deltas, then a completed response with the usage that was charged', async () => {
    const { result: events, line } = await logged(sluice, async () =>
      Array.fromAsync(await client.responses.create({ model: GPT, input: PROMPT, stream: true })),
    )
    const deltas = events.filter(event => event.type === 'response.output_text.delta')
    assert.ok(deltas.length > 1, `${deltas.length} deltas`)
    const done = events.find(event => event.type === 'response.completed')
    const { input_tokens, output_tokens } = done!.response.usage!
    assertCharged(line, { inputTokens: input_tokens, outputTokens: output_tokens })
  })
})

describe('LangChain with AWS_ENDPOINT_URL_BEDROCK_RUNTIME', () => {
  let chat: ChatBedrockConverse

  before(() => {
    process.env.AWS_ENDPOINT_URL_BEDROCK_RUNTIME = sluice.url
    chat = new ChatBedrockConverse({
      model: CLAUDE,
      region: 'us-east-1',
      credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    })
  })
  after(() => {
    delete process.env.AWS_ENDPOINT_URL_BEDROCK_RUNTIME
    chat.client.destroy()
  })

  test('invoke: text, and the usage that was charged', async () => {
    const { result, line } = await logged(sluice, () => chat.invoke(PROMPT))
    assert.match(result.text, /\w+/)
    const { input_tokens, output_tokens } = result.usage_metadata!
    assertCharged(line, { inputTokens: input_tokens, outputTokens: output_tokens })
  })

  test('stream: text in several chunks, and the usage that was charged', async () => {
    const { result: chunks, line } = await logged(sluice, async () => Array.fromAsync(await chat.stream(PROMPT)))
    const texts = chunks.filter(chunk => chunk.text.length > 0)
    assert.ok(texts.length > 1, `${texts.length} chunks of text`)
    const { input_tokens, output_tokens } = chunks.find(chunk => chunk.usage_metadata)!.usage_metadata!
    assertCharged(line, { inputTokens: input_tokens, outputTokens: output_tokens })
  })
})

describe('plain HTTP', () => {
  function post(path: string, body: object): Promise<Response> {
    const headers = { 'content-type': 'application/json' }
    return fetch(sluice.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  }

  const asked = { model: CLAUDE, max_tokens: 200, messages: [{ role: 'user', content: PROMPT }] }

  test('Converse without any credentials: an answer, and headers that tell of the pool, the wait and the sends', async () => {
    const { result, line } = await logged(sluice, async () => {
      const reply = await post(`/model/${CLAUDE}/converse`, {
        messages: [{ role: 'user', content: [{ text: PROMPT }] }],
      })
      return { reply, json: (await reply.json()) as ConverseReply }
    })
    assert.equal(result.reply.status, 200)
    assert.match(result.json.output.message.content[0].text, /\w+/)
    assertCharged(line, { inputTokens: result.json.usage.inputTokens, outputTokens: result.json.usage.outputTokens })
    const { headers } = result.reply
    assert.equal(headers.get('x-sluice-pool'), 'only')
    assert.match(headers.get('x-sluice-wait-ms')!, /^\d+$/)
    assert.equal(headers.get('x-sluice-attempts'), '1')
  })

  test('/anthropic/v1/messages: a message, and the usage that was charged', async () => {
    const { result, line } = await logged(sluice, async () => {
      const reply = await post('/anthropic/v1/messages', asked)
      return (await reply.json()) as MessagesReply
    })
    assert.match(result.content[0].text, /\w+/)
    assertCharged(line, { inputTokens: result.usage.input_tokens, outputTokens: result.usage.output_tokens })
  })

  test('/anthropic/v1/messages as server-sent events: several deltas, and the usage that was charged', async () => {
    const { result, line } = await logged(sluice, async () => {
      const reply = await post('/anthropic/v1/messages', { ...asked, stream: true })
      return { type: reply.headers.get('content-type'), events: serverSentEvents(await reply.text()) }
    })
    assert.match(result.type!, /^text\/event-stream/)
    const deltas = result.events.filter(event => event.type === 'content_block_delta')
    assert.ok(deltas.length > 1, `${deltas.length} deltas`)
    const started = result.events.find(event => event.type === 'message_start')!
    const ended = result.events.findLast(event => event.type === 'message_delta')!
    assertCharged(line, {
      inputTokens: started.message!.usage.input_tokens,
      outputTokens: ended.usage!.output_tokens,
    })
  })
})
