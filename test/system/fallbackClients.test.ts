// Fallbacks as the SDKs of other makers decode them: a placeholder, what was answered before, another model's answer.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createAmazonBedrock } from '@ai-sdk/amazon-bedrock'
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk'
import { ChatBedrockConverse } from '@langchain/aws'
import { generateText, streamText } from 'ai'
import OpenAI from 'openai'
import { GPT, MOCK_TEXT, SONNET, setOutage, startTwoSizes } from '../support/outage.ts'
import { REFUSED_URL } from '../support/rawUpstream.ts'
import type { TestSluice } from '../support/sluice.ts'
import { useTestCredentials } from '../support/wire.ts'

const PROMPT = 'Tell me about rivers, please.'
const MESSAGES = [{ role: 'user' as const, content: PROMPT }]
const CREDENTIALS = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' }

/** The text that a program of each kind ends up with. */
const CLIENTS: Record<string, (url: string) => Promise<string>> = {
  "Anthropic's SDK, whole": async url => {
    const { content } = await anthropic(url).messages.create({ model: SONNET, max_tokens: 200, messages: MESSAGES })
    const [block] = content
    return block?.type === 'text' ? block.text : ''
  },
  "Anthropic's SDK, streamed": async url => {
    const stream = anthropic(url).messages.stream({ model: SONNET, max_tokens: 200, messages: MESSAGES })
    const [block] = (await stream.finalMessage()).content
    return block?.type === 'text' ? block.text : ''
  },
  'the Vercel AI SDK, whole': async url => {
    const model = createAmazonBedrock({ baseURL: url, region: 'us-east-1', ...CREDENTIALS })(SONNET)
    return (await generateText({ model, prompt: PROMPT, maxRetries: 0 })).text
  },
  'the Vercel AI SDK, streamed': async url => {
    const model = createAmazonBedrock({ baseURL: url, region: 'us-east-1', ...CREDENTIALS })(SONNET)
    const stream = streamText({ model, prompt: PROMPT, maxRetries: 0 })
    const text = (await Array.fromAsync(stream.textStream)).join('')
    assert.equal(await stream.finishReason, 'stop')
    return text
  },
  'LangChain, whole': url => langchain(url, async chat => (await chat.invoke(PROMPT)).text),
  'LangChain, streamed': url =>
    langchain(url, async chat => (await Array.fromAsync(await chat.stream(PROMPT))).map(({ text }) => text).join('')),
  "OpenAI's SDK, chat": async url => {
    const { choices } = await openai(url).chat.completions.create({ model: GPT, messages: MESSAGES })
    assert.equal(choices[0]!.finish_reason, 'stop')
    return choices[0]!.message.content!
  },
  "OpenAI's SDK, chat streamed": async url => {
    const options = { stream: true, stream_options: { include_usage: true } } as const
    const chunks = await Array.fromAsync(
      await openai(url).chat.completions.create({ model: GPT, messages: MESSAGES, ...options }),
    )
    assert.ok(chunks.at(-1)!.usage, 'the last chunk has the usage that was asked for')
    return chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join('')
  },
  "OpenAI's SDK, responses": async url =>
    (await openai(url).responses.create({ model: GPT, input: PROMPT })).output_text,
  "OpenAI's SDK, responses streamed": async url => {
    const events = await Array.fromAsync(
      await openai(url).responses.create({ model: GPT, input: PROMPT, stream: true }),
    )
    assert.equal(events.at(-1)!.type, 'response.completed')
    return events.map(event => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')
  },
  '/anthropic/v1/messages': async url => {
    const body = JSON.stringify({ model: SONNET, max_tokens: 200, messages: MESSAGES })
    const reply = await fetch(`${url}/anthropic/v1/messages`, { method: 'POST', body })
    return ((await reply.json()) as { content: [{ text: string }] }).content[0].text
  },
}

function anthropic(url: string): AnthropicBedrock {
  const keys = { awsAccessKey: 'AKIDCLIENT', awsSecretKey: 'secret' }
  return new AnthropicBedrock({ baseURL: url, awsRegion: 'us-east-1', ...keys, maxRetries: 0 })
}

function openai(url: string): OpenAI {
  return new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: 'any', maxRetries: 0 })
}

async function langchain(url: string, use: (chat: ChatBedrockConverse) => Promise<string>): Promise<string> {
  process.env.AWS_ENDPOINT_URL_BEDROCK_RUNTIME = url
  const chat = new ChatBedrockConverse({ model: SONNET, region: 'us-east-1', credentials: CREDENTIALS, maxRetries: 0 })
  try {
    return await use(chat)
  } finally {
    delete process.env.AWS_ENDPOINT_URL_BEDROCK_RUNTIME
    chat.client.destroy()
  }
}

before(async () => {
  useTestCredentials()
})

/** The kinds that answered, in order. */
function kinds(sluice: TestSluice): unknown[] {
  return sluice.logged().flatMap(line => (line.msg === 'fallback' ? [line.kind] : []))
}

describe('a placeholder', () => {
  let sluice: TestSluice
  before(async () => {
    sluice = await startTwoSizes(REFUSED_URL, '[mock]')
  })
  after(() => sluice.stop(0))
  for (const [client, ask] of Object.entries(CLIENTS))
    test(`${client}: decoded`, async () => assert.equal(await ask(sluice.url), MOCK_TEXT))
})

describe('what was answered before', () => {
  let sluice: TestSluice
  before(async () => {
    // The outages follow each other faster than a pool that was shut for them opens again.
    sluice = await startTwoSizes('simulator', '[stale]', 'breaker: { failures: 1000, minCalls: 100000 }')
  })
  after(() => sluice.stop(0))
  for (const [client, ask] of Object.entries(CLIENTS)) {
    test(`${client}: decoded`, async () => {
      await setOutage(sluice, false)
      const told = kinds(sluice).length
      const first = await ask(sluice.url)
      assert.match(first, /\w+ \w+/)
      await setOutage(sluice, true)
      assert.equal(await ask(sluice.url), first)
      assert.deepEqual(kinds(sluice).slice(told), ['stale'])
    })
  }
})

describe("another model's answer", () => {
  let sluice: TestSluice
  before(async () => {
    sluice = await startTwoSizes(REFUSED_URL, '[{ model: haiku }]')
  })
  after(() => sluice.stop(0))
  for (const [client, ask] of Object.entries(CLIENTS)) {
    test(`${client}: decoded`, async () => {
      const told = kinds(sluice).length
      assert.match(await ask(sluice.url), /\w+ \w+/)
      assert.deepEqual(kinds(sluice).slice(told), ['model'])
    })
  }
})
