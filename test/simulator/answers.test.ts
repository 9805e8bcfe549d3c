// What the simulated models say: lengths, caps, usage that adds up, tools, embeddings, token counts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seeded } from '../support/seeds.ts'
import { chunks, dig, drive, frames, json, userSays } from './drive.ts'

const NOVA = '/model/amazon.nova-micro-v1:0/'
const CLAUDE = '/model/anthropic.claude-v2/'
const PNG_CHARACTERS = 'A'.repeat(400_000)

/** By operation and provider: where the cap goes in, where the count and the reason to stop come out. */
const CAPPED: [string, string, (cap: number) => object, (string | number)[], (string | number)[], string][] = [
  [
    'Converse',
    `${CLAUDE}converse`,
    cap => ({ messages: userSays('a'), inferenceConfig: { maxTokens: cap } }),
    ['usage', 'outputTokens'],
    ['stopReason'],
    'max_tokens',
  ],
  [
    'Nova',
    `${NOVA}invoke`,
    cap => ({ messages: userSays('a'), inferenceConfig: { maxTokens: cap } }),
    ['usage', 'outputTokens'],
    ['stopReason'],
    'max_tokens',
  ],
  [
    'Nova, older name',
    `${NOVA}invoke`,
    cap => ({ messages: userSays('a'), inferenceConfig: { max_new_tokens: cap } }),
    ['usage', 'outputTokens'],
    ['stopReason'],
    'max_tokens',
  ],
  [
    'Anthropic',
    `${CLAUDE}invoke`,
    cap => ({ messages: userSays('a'), max_tokens: cap }),
    ['usage', 'output_tokens'],
    ['stop_reason'],
    'max_tokens',
  ],
  [
    'Titan',
    '/model/amazon.titan-text-lite-v1/invoke',
    cap => ({ inputText: 'a', textGenerationConfig: { maxTokenCount: cap } }),
    ['results', 0, 'tokenCount'],
    ['results', 0, 'completionReason'],
    'LENGTH',
  ],
  [
    'Llama',
    '/model/meta.llama3-8b/invoke',
    cap => ({ prompt: 'a', max_gen_len: cap }),
    ['generation_token_count'],
    ['stop_reason'],
    'length',
  ],
  [
    'Chat Completions',
    '/openai/v1/chat/completions',
    cap => ({ model: 'openai.gpt-x', messages: [{ role: 'user', content: 'a' }], max_completion_tokens: cap }),
    ['usage', 'completion_tokens'],
    ['choices', 0, 'finish_reason'],
    'length',
  ],
  [
    'Responses',
    '/openai/v1/responses',
    cap => ({ model: 'openai.gpt-x', input: 'a', max_output_tokens: cap }),
    ['usage', 'output_tokens'],
    ['incomplete_details', 'reason'],
    'max_output_tokens',
  ],
  [
    'Messages',
    '/anthropic/v1/messages',
    cap => ({ model: 'anthropic.claude-x', messages: userSays('a'), max_tokens: cap }),
    ['usage', 'output_tokens'],
    ['stop_reason'],
    'max_tokens',
  ],
]

for (const [name, path, body, count, reason, told] of CAPPED)
  test(`${name}: an answer never exceeds the request's cap, and says when it was cut`, async t => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.integer(), async (cap, seed) => {
        const answer = json(await drive({ seed, answerTokens: 30 }).ask(path, body(cap)))
        const tokens = Number(dig(answer, ...count))
        assert.ok(tokens >= 1 && tokens <= cap)
        if (dig(answer, ...reason) === told) assert.equal(tokens, cap)
        else assert.ok(tokens >= 15 && tokens <= 45)
      }),
      seeded(t, 30),
    )
  })

test('output tokens are the words really written, whole and streamed', async () => {
  const whole = json(await drive().ask(`${CLAUDE}converse`, { messages: userSays('a') }))
  const text = String(dig(whole, 'output', 'message', 'content', 0, 'text'))
  assert.equal(text.split(' ').length, dig(whole, 'usage', 'outputTokens'))
  const list = frames((await drive().ask(`${CLAUDE}converse-stream`, { messages: userSays('a') })).body)
  const streamed = list.map(({ payload }) => dig(payload, 'delta', 'text') ?? '').join('')
  assert.equal(streamed.split(' ').length, dig(list.at(-1)?.payload, 'usage', 'outputTokens'))
})

test('every count of a Claude stream agrees: message_start, message_delta, Bedrock’s own', async () => {
  const body = { anthropic_version: 'x', max_tokens: 50, messages: userSays('Say this is a test') }
  const list = chunks((await drive().ask(`${CLAUDE}invoke-with-response-stream`, body)).body)
  const metrics = dig(list.at(-1), 'amazon-bedrock-invocationMetrics')
  assert.equal(dig(list[0], 'message', 'usage', 'input_tokens'), dig(metrics, 'inputTokenCount'))
  assert.equal(dig(list.at(-2), 'usage', 'output_tokens'), dig(metrics, 'outputTokenCount'))
})

test('totalTokens is the sum, and prompts count about four bytes a token', async t => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 2000 }), async text => {
      const usage = dig(json(await drive().ask(`${CLAUDE}converse`, { messages: userSays(text) })), 'usage')
      const [input, output, total] = ['inputTokens', 'outputTokens', 'totalTokens'].map(key => Number(dig(usage, key)))
      assert.equal(total, input! + output!)
      assert.equal(input, Math.max(1, Math.ceil(Buffer.byteLength(text) / 4)))
    }),
    seeded(t, 50),
  )
})

test('base64 media are never counted as text', async () => {
  const blocks: [string, object][] = [
    [
      `${CLAUDE}converse`,
      { messages: [{ role: 'user', content: [{ image: { format: 'png', source: { bytes: PNG_CHARACTERS } } }] }] },
    ],
    [
      `${CLAUDE}invoke`,
      {
        max_tokens: 5,
        messages: [
          {
            role: 'user',
            content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG_CHARACTERS } }],
          },
        ],
      },
    ],
    [
      '/openai/v1/chat/completions',
      {
        model: 'openai.x',
        messages: [
          {
            role: 'user',
            content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${PNG_CHARACTERS}` } }],
          },
        ],
      },
    ],
    [
      '/openai/v1/responses',
      {
        model: 'openai.x',
        input: [
          { role: 'user', content: [{ type: 'input_image', image_url: `data:image/png;base64,${PNG_CHARACTERS}` }] },
        ],
      },
    ],
  ]
  for (const [path, body] of blocks) {
    const usage = dig(json(await drive().ask(path, body)), 'usage')
    const tokens = Number(dig(usage, 'inputTokens') ?? dig(usage, 'input_tokens') ?? dig(usage, 'prompt_tokens'))
    assert.ok(tokens >= 100 && tokens <= 1700, `${path}: ${tokens}`)
  }
})

test('a forced tool is called with an input that fits its schema, whole and streamed', async () => {
  const schema = {
    type: 'object',
    required: ['city', 'days', 'unit', 'place'],
    properties: {
      city: { type: 'string' },
      days: { type: 'integer', minimum: 3 },
      unit: { enum: ['celsius'] },
      place: { type: 'object', required: ['tags'], properties: { tags: { type: 'array' } } },
      optional: { type: 'string' },
    },
  }
  const input = { city: 'text', days: 3, unit: 'celsius', place: { tags: [] } }
  const toolConfig = {
    tools: [
      { toolSpec: { name: 'other', inputSchema: { json: {} } } },
      { toolSpec: { name: 'weather', inputSchema: { json: schema } } },
    ],
    toolChoice: { tool: { name: 'weather' } },
  }
  const whole = json(await drive().ask(`${CLAUDE}converse`, { messages: userSays('a'), toolConfig }))
  assert.deepEqual(dig(whole, 'output', 'message', 'content', 0, 'toolUse', 'input'), input)
  assert.equal(dig(whole, 'stopReason'), 'tool_use')
  const list = frames((await drive().ask(`${CLAUDE}converse-stream`, { messages: userSays('a'), toolConfig })).body)
  assert.deepEqual(
    JSON.parse(list.map(({ payload }) => dig(payload, 'delta', 'toolUse', 'input') ?? '').join('')),
    input,
  )
  const chat = {
    model: 'openai.x',
    messages: [],
    tools: [{ type: 'function', function: { name: 'weather', parameters: schema } }],
    tool_choice: 'required',
    max_tokens: 3,
  }
  const call = dig(
    json(await drive().ask('/openai/v1/chat/completions', chat)),
    'choices',
    0,
    'message',
    'tool_calls',
    0,
    'function',
  )
  assert.deepEqual(JSON.parse(String(dig(call, 'arguments'))), input, 'whole even under a small cap')
})

test('tools that are only offered are not called', async () => {
  const body = {
    max_tokens: 9,
    messages: userSays('a'),
    tools: [{ name: 'x', input_schema: {} }],
    tool_choice: { type: 'auto' },
  }
  assert.equal(dig(json(await drive().ask(`${CLAUDE}invoke`, body)), 'content', 0, 'type'), 'text')
})

test('an unknown provider is answered in the shape its body suggests', async () => {
  const shapes: [object, string][] = [
    [{ anthropic_version: 'x', max_tokens: 5, messages: userSays('a') }, 'content'],
    [{ inputText: 'a' }, 'results'],
    [{ prompt: 'a' }, 'generation'],
    [{ messages: userSays('a') }, 'output'],
  ]
  for (const [body, key] of shapes)
    assert.notEqual(
      dig(
        json(await drive().ask('/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aimported-model%2Fabc/invoke', body)),
        key,
      ),
      undefined,
      key,
    )
})

test('embeddings are unit vectors, the same for the same text, and cannot stream', async () => {
  const titan = '/model/amazon.titan-embed-text-v2:0/'
  const [a, b] = [
    await drive().ask(`${titan}invoke`, { inputText: 'hello', dimensions: 256 }),
    await drive({ seed: 9 }).ask(`${titan}invoke`, { inputText: 'hello', dimensions: 256 }),
  ]
  const vector = dig(json(a), 'embedding') as number[]
  assert.equal(vector.length, 256)
  assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4)
  assert.deepEqual(dig(json(b), 'embedding'), vector)
  const cohere = json(
    await drive().ask('/model/cohere.embed-english-v3/invoke', { texts: ['a', 'b'], input_type: 'search_query' }),
  )
  assert.equal((dig(cohere, 'embeddings') as unknown[]).length, 2)
  assert.equal((await drive().ask(`${titan}invoke-with-response-stream`, { inputText: 'a' })).status, 400)
})

test('CountTokens tells what the call itself would be charged', async () => {
  const invoke = { max_tokens: 5, messages: userSays('How many tokens are these words?') }
  const charged = dig(json(await drive().ask(`${CLAUDE}invoke`, invoke)), 'usage', 'input_tokens')
  const body = Buffer.from(JSON.stringify(invoke)).toString('base64')
  assert.deepEqual(json(await drive().ask(`${CLAUDE}count-tokens`, { input: { invokeModel: { body } } })), {
    inputTokens: charged,
  })
  const converse = { messages: invoke.messages }
  assert.deepEqual(json(await drive().ask(`${CLAUDE}count-tokens`, { input: { converse } })), { inputTokens: charged })
})

test('a marked prefix is written to the cache once, and read for five minutes after each use', async () => {
  const driven = drive()
  const ask = async (tail: string) => {
    const content = [{ text: 'long '.repeat(400) }, { cachePoint: { type: 'default' } }, { text: tail }]
    const seen = driven.send(`${CLAUDE}converse`, { messages: [{ role: 'user', content }] })
    const usage = dig(json(seen), 'usage')
    return ['inputTokens', 'cacheReadInputTokens', 'cacheWriteInputTokens'].map(key => dig(usage, key))
  }
  assert.deepEqual(await ask('four'), [1, 0, 500])
  assert.deepEqual(await ask('five five'), [3, 500, 0])
  await driven.clock.advance(299_000)
  assert.deepEqual(await ask('four'), [1, 500, 0])
  await driven.clock.advance(300_000)
  assert.deepEqual(await ask('four'), [1, 0, 500])
  assert.equal(driven.simulator.counts().quotas[0]!.accepted, 4)
})

test('a longer marked prefix reads the shorter one and writes only the rest', async () => {
  const driven = drive()
  const mark = { type: 'ephemeral' }
  const block = (text: string) => ({ type: 'text', text, cache_control: mark })
  const ask = (...content: object[]) =>
    dig(json(driven.send(`${CLAUDE}invoke`, { max_tokens: 5, messages: [{ role: 'user', content }] })), 'usage')
  ask(block('a'.repeat(400)))
  const usage = ask(block('a'.repeat(400)), block('b'.repeat(40)))
  assert.deepEqual([dig(usage, 'cache_read_input_tokens'), dig(usage, 'cache_creation_input_tokens')], [100, 10])
})
