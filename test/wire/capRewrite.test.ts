// An output cap put into a body or made smaller there, and not another byte changed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type CapBounds, capOutput } from '../../src/wire/capRewrite.ts'
import { readDemand } from '../../src/wire/demand.ts'
import { CAPS, type Path } from '../../src/wire/demandCap.ts'
import type { OperationName } from '../../src/wire/operations.ts'
import { seeded } from '../support/seeds.ts'
import { operationOf } from './readResponse.ts'

const INVOKE = '/model/m/invoke'
const STREAM = '/model/m/invoke-with-response-stream'
const CONVERSE = '/model/m/converse'
const CHAT = '/openai/v1/chat/completions'
const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const NOVA = 'amazon.nova-2-lite-v1:0'
const PROFILE = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456'
const PROMPT = 'arn:aws:bedrock:us-east-1:123456789012:prompt/PROMPT12345:1'

function rewritten(path: string, modelId: string, body: string, bounds: Partial<CapBounds> = {}): string | undefined {
  const { name } = operationOf(path)
  return capOutput(name, modelId, Buffer.from(body), { tokens: 7, most: 64_000, ...bounds })?.body.toString()
}

const INSERTED: [string, string, string, string, string][] = [
  ['Converse', CONVERSE, CLAUDE, '{"messages":[]}', '{"inferenceConfig":{"maxTokens":7},"messages":[]}'],
  ['Converse with nothing', CONVERSE, CLAUDE, ' { } ', ' {"inferenceConfig":{"maxTokens":7} } '],
  [
    'Converse with other settings of the kind',
    '/model/m/converse-stream',
    CLAUDE,
    '{"inferenceConfig" : { "temperature":1 }}',
    '{"inferenceConfig" : {"maxTokens":7, "temperature":1 }}',
  ],
  ['Converse with none of them', CONVERSE, CLAUDE, '{"inferenceConfig":{}}', '{"inferenceConfig":{"maxTokens":7}}'],
  ['Converse with null', CONVERSE, CLAUDE, '{"inferenceConfig":null}', '{"inferenceConfig":{"maxTokens":7}}'],
  [
    'Converse with a null cap',
    CONVERSE,
    CLAUDE,
    '{"inferenceConfig":{"maxTokens": null }}',
    '{"inferenceConfig":{"maxTokens": 7 }}',
  ],
  [
    'Converse with two sets of settings, of which the last counts',
    CONVERSE,
    CLAUDE,
    '{"inferenceConfig":{"maxTokens":9},"inferenceConfig":{"topP":1}}',
    '{"inferenceConfig":{"maxTokens":9},"inferenceConfig":{"maxTokens":7,"topP":1}}',
  ],
  ['Anthropic', STREAM, CLAUDE, '{"messages":[]}', '{"max_tokens":7,"messages":[]}'],
  ['Anthropic before Messages', INVOKE, CLAUDE, '{"prompt":"x"}', '{"max_tokens_to_sample":7,"prompt":"x"}'],
  [
    'Anthropic behind an application profile',
    INVOKE,
    PROFILE,
    '{"anthropic_version":"bedrock-2023-05-31"}',
    '{"max_tokens":7,"anthropic_version":"bedrock-2023-05-31"}',
  ],
  ['Nova', INVOKE, NOVA, '{"messages":[]}', '{"inferenceConfig":{"maxTokens":7},"messages":[]}'],
  [
    'Titan',
    INVOKE,
    'amazon.titan-text-express-v1',
    '{"inputText":"x","textGenerationConfig":{"topP":1}}',
    '{"inputText":"x","textGenerationConfig":{"maxTokenCount":7,"topP":1}}',
  ],
  ['Llama', INVOKE, 'meta.llama3-8b-instruct-v1:0', '{"prompt":"x"}', '{"max_gen_len":7,"prompt":"x"}'],
  ['Mistral', INVOKE, 'mistral.mistral-7b-instruct-v0:2', '{"prompt":"x"}', '{"max_tokens":7,"prompt":"x"}'],
  ['Mistral chat', INVOKE, 'mistral.pixtral-large-2502-v1:0', '{"messages":[]}', '{"max_tokens":7,"messages":[]}'],
  ['Cohere', INVOKE, 'cohere.command-text-v14', '{"prompt":"x"}', '{"max_tokens":7,"prompt":"x"}'],
  ['Cohere chat', INVOKE, 'cohere.command-r-v1:0', '{"message":"x"}', '{"max_tokens":7,"message":"x"}'],
  ['AI21', INVOKE, 'ai21.j2-mid-v1', '{"prompt":"x","numResults":3}', '{"maxTokens":7,"prompt":"x","numResults":3}'],
  ['AI21 Jamba', INVOKE, 'ai21.jamba-1-5-mini-v1:0', '{"messages":[]}', '{"max_tokens":7,"messages":[]}'],
  ['DeepSeek', INVOKE, 'us.deepseek.r1-v1:0', '{"prompt":"x"}', '{"max_tokens":7,"prompt":"x"}'],
  ['OpenAI', INVOKE, 'openai.gpt-oss-20b-1:0', '{"messages":[]}', '{"max_completion_tokens":7,"messages":[]}'],
  ['chat completions', CHAT, 'm', '{"model":"m"}', '{"max_completion_tokens":7,"model":"m"}'],
  [
    'chat completions with nulls',
    CHAT,
    'm',
    '{"model":"m","max_tokens":null,"max_completion_tokens":null}',
    '{"model":"m","max_tokens":null,"max_completion_tokens":7}',
  ],
  ['Responses', '/openai/v1/responses', 'm', '{"model":"m"}', '{"max_output_tokens":7,"model":"m"}'],
  ['Messages', '/anthropic/v1/messages', 'm', '{"model":"m"}', '{"max_tokens":7,"model":"m"}'],
  [
    'a prompt that speaks of caps',
    CONVERSE,
    CLAUDE,
    '{"messages":[{"content":[{"text":"\\"inferenceConfig\\":{\\"maxTokens\\":9},\\\\"}]}]}',
    '{"inferenceConfig":{"maxTokens":7},"messages":[{"content":[{"text":"\\"inferenceConfig\\":{\\"maxTokens\\":9},\\\\"}]}]}',
  ],
]

for (const [title, path, modelId, body, expected] of INSERTED)
  test(`a request without a cap gets one where its model reads it: ${title}`, () => {
    assert.equal(rewritten(path, modelId, body), expected)
  })

const SHRUNK: [string, string, string, string][] = [
  ['Converse', CONVERSE, '{"inferenceConfig":{ "maxTokens" : 9000 }}', '{"inferenceConfig":{ "maxTokens" : 7 }}'],
  [
    'another way to write a number',
    CONVERSE,
    '{"inferenceConfig":{"maxTokens":1e3}}',
    '{"inferenceConfig":{"maxTokens":7}}',
  ],
  [
    'an escaped key',
    CONVERSE,
    '{"inferenceConfig":{"max\\u0054okens":9}}',
    '{"inferenceConfig":{"max\\u0054okens":7}}',
  ],
  ['the last of equal keys', STREAM, '{"max_tokens":90,"max_tokens":91}', '{"max_tokens":90,"max_tokens":7}'],
  [
    'the stronger of two',
    CONVERSE,
    '{"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_tokens":91}}',
    '{"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_tokens":7}}',
  ],
  ['both of which either may count', INVOKE, '{"max_tokens":90,"max_gen_len":91}', '{"max_tokens":7,"max_gen_len":7}'],
  ['only the larger of them', INVOKE, '{"max_tokens":5,"max_gen_len":91}', '{"max_tokens":5,"max_gen_len":7}'],
  ['Nova', INVOKE, '{"inferenceConfig":{"max_new_tokens":90}}', '{"inferenceConfig":{"max_new_tokens":7}}'],
  ['Nova, newer', INVOKE, '{"inferenceConfig":{"maxTokens":90}}', '{"inferenceConfig":{"maxTokens":7}}'],
  [
    'Nova on Converse',
    CONVERSE,
    '{"additionalModelRequestFields":{"inferenceConfig":{"max_new_tokens":90}}}',
    '{"additionalModelRequestFields":{"inferenceConfig":{"max_new_tokens":7}}}',
  ],
  ['Anthropic before Messages', INVOKE, '{"max_tokens_to_sample":90}', '{"max_tokens_to_sample":7}'],
  ['Titan', INVOKE, '{"textGenerationConfig":{"maxTokenCount":90}}', '{"textGenerationConfig":{"maxTokenCount":7}}'],
  ['AI21, of each answer', INVOKE, '{"maxTokens":90,"numResults":3}', '{"maxTokens":7,"numResults":3}'],
  ['chat completions', CHAT, '{"model":"m","max_tokens":90,"n":2}', '{"model":"m","max_tokens":7,"n":2}'],
  ['Responses', '/openai/v1/responses', '{"max_output_tokens":90}', '{"max_output_tokens":7}'],
  ['Messages', '/anthropic/v1/messages', '{"max_tokens":90}', '{"max_tokens":7}'],
]

for (const [title, path, body, expected] of SHRUNK)
  test(`a cap that is too large is made smaller in its place: ${title}`, () => {
    assert.equal(rewritten(path, PROFILE, body), expected)
  })

const LEFT: [string, string, string, string][] = [
  ['a cap that is small enough', CONVERSE, CLAUDE, '{"inferenceConfig":{"maxTokens":7}}'],
  ['a cap of zero', INVOKE, CLAUDE, '{"messages":[],"max_tokens":0}'],
  [
    'a small cap over a weaker large one',
    CONVERSE,
    CLAUDE,
    '{"inferenceConfig":{"maxTokens":90},"additionalModelRequestFields":{"max_tokens":5}}',
  ],
  ['a prompt of Prompt management, which brings its own', CONVERSE, PROMPT, '{"promptVariables":{}}'],
  ['a profile that does not say whose model it is', INVOKE, PROFILE, '{"messages":[]}'],
  ['a provider that is not known', INVOKE, 'stability.sd3-5-large-v1:0', '{"prompt":"x"}'],
  ['embeddings', INVOKE, 'amazon.titan-embed-text-v2:0', '{"inputText":"x"}'],
  ['images', INVOKE, 'amazon.nova-canvas-v1:0', '{"taskType":"TEXT_IMAGE"}'],
  ['an async invocation', '/async-invoke', 'amazon.nova-reel-v1:1', '{"modelId":"amazon.nova-reel-v1:1"}'],
  ['settings that are no object', CONVERSE, CLAUDE, '{"inferenceConfig":[]}'],
  ['an empty body', INVOKE, CLAUDE, ''],
  [
    'Nova at an effort that bears no cap',
    CONVERSE,
    NOVA,
    '{"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"high"}}}',
  ],
  [
    'the same on InvokeModel',
    INVOKE,
    NOVA,
    '{"messages":[],"inferenceConfig":{"reasoningConfig":{"maxReasoningEffort":"high"}}}',
  ],
]

for (const [title, path, modelId, body] of LEFT)
  test(`a body is left alone: ${title}`, () => {
    assert.equal(rewritten(path, modelId, body), undefined)
  })

test('a thinking budget comes on top of the cap, for Bedrock refuses a cap below it', () => {
  const body = '{"messages":[],"thinking":{"type":"enabled","budget_tokens":4000}}'
  assert.equal(rewritten(INVOKE, CLAUDE, body), `{"max_tokens":4007,${body.slice(1)}`)
  assert.equal(rewritten(INVOKE, CLAUDE, body, { most: 4005 }), `{"max_tokens":4005,${body.slice(1)}`)
  assert.equal(rewritten(INVOKE, CLAUDE, body, { most: 4000 }), undefined)
  assert.equal(
    rewritten(INVOKE, CLAUDE, body.replace('4000', '1.5')),
    `{"max_tokens":9,${body.slice(1).replace('4000', '1.5')}`,
  )
  const converse =
    '{"additionalModelRequestFields":{"reasoning_config":{"budget_tokens":2000}},"inferenceConfig":{"maxTokens":9000}}'
  assert.equal(rewritten(CONVERSE, CLAUDE, converse), converse.replace('9000', '2007'))
})

test('the model’s own maximum bounds a cap', () => {
  assert.equal(rewritten(CHAT, 'm', '{"model":"m"}', { most: 5 }), '{"max_completion_tokens":5,"model":"m"}')
})

// ---- any body ----

const KINDS: [string, string, Path | undefined][] = [
  [CONVERSE, CLAUDE, ['inferenceConfig', 'maxTokens']],
  [INVOKE, NOVA, ['inferenceConfig', 'maxTokens']],
  [INVOKE, 'meta.llama3-8b-instruct-v1:0', ['max_gen_len']],
  [STREAM, PROFILE, undefined],
  [CHAT, 'm', ['max_completion_tokens']],
  ['/openai/v1/responses', 'm', ['max_output_tokens']],
  ['/anthropic/v1/messages', 'm', ['max_tokens']],
]
const CAP_NAMES = [...new Set(Object.values(CAPS).flatMap(groups => groups.flat().map(path => path.at(-1)!)))]

const blank = fc.constantFrom('', '', '', ' ', '\n', '\t ', '\r\n  ')
const text = fc
  .oneof(fc.string(), fc.constantFrom('\\', '"', '{', '}:,', '\\"', '"maxTokens":5', 'é模'))
  .map(one => JSON.stringify(one))
const junk = fc.oneof(
  text,
  fc.constantFrom('true', '1.5', '[ {"max_tokens" : 1} , 2]', '{"maxTokens":{}}', '[]', '{ }'),
)
const cap = fc.oneof(
  fc.nat(50).map(String),
  fc.constantFrom('0', '-0', '1e1', '2.0e1', '20.0', '9007199254740991', 'null'),
)

/** The text of an object, in any spelling: its keys drawn from `fields`, each with its kind of value. */
function objectText(fields: [string[], fc.Arbitrary<string>][]): fc.Arbitrary<string> {
  const member = fc.oneof(
    ...fields.map(([keys, value]) =>
      fc.tuple(fc.constantFrom(...keys).chain(spelt), blank, blank, value, blank, blank),
    ),
  )
  return fc.tuple(fc.array(member, { maxLength: 6 }), blank).map(([members, inside]) => {
    const texts = members.map(([key, a, b, value, c, d]) => `${d}${key}${a}:${b}${value}${c}`)
    return `{${inside}${texts.join(',')}}`
  })
}

function spelt(key: string): fc.Arbitrary<string> {
  const first = key.charCodeAt(0).toString(16).padStart(4, '0')
  return fc.constantFrom(JSON.stringify(key), JSON.stringify(key), `"\\u${first}${key.slice(1)}"`)
}

const others: [string[], fc.Arbitrary<string>] = [['temperature', 'tools', '__proto__', '', 'x"y'], junk]
const settings = fc.oneof(
  { weight: 5, arbitrary: objectText([[CAP_NAMES, cap], others]) },
  { weight: 1, arbitrary: junk },
  { weight: 1, arbitrary: fc.constant('null') },
)
const thinking = fc.nat(30).map(budget => `{"type":"enabled", "budget_tokens":${budget}}`)
const additional = objectText([[CAP_NAMES, cap], [['inferenceConfig'], settings], [['thinking'], thinking], others])
const anyBody = fc
  .tuple(
    blank,
    objectText([
      [CAP_NAMES, cap],
      [['inferenceConfig', 'textGenerationConfig'], settings],
      [['additionalModelRequestFields'], fc.oneof(additional, junk)],
      [['thinking'], thinking],
      [['n', 'numResults'], fc.constantFrom('1', '3', 'null')],
      [['messages', 'prompt'], text],
      others,
    ]),
    blank,
  )
  .map(([before, object, after]) => `${before}${object}${after}`)

type Json = Record<string, unknown>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const own = (value: unknown, key: string) => (isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined)
const read = (body: Json, path: Path) => path.reduce<unknown>(own, body)

/** What the body should say afterwards; undefined: what it says now. */
function expectedOf(name: OperationName, body: Json, target: Path | undefined, bounds: CapBounds): Json | undefined {
  const budgets = [['thinking'], ['additionalModelRequestFields', 'thinking']].map(path =>
    read(body, [...path, 'budget_tokens']),
  )
  const budget = Math.max(0, ...budgets.filter(one => typeof one === 'number'))
  const tokens = Math.min(bounds.tokens + budget, bounds.most)
  if (tokens <= budget) return undefined
  const group = CAPS[name]!.find(paths => paths.some(path => typeof read(body, path) === 'number'))
  if (group) {
    const larger = group.filter(path => Number(read(body, path) ?? 0) > tokens)
    for (const path of larger)
      own(read(body, path.slice(0, -1)) ?? body, path.at(-1)!) !== undefined && put(body, path, tokens)
    return larger.length > 0 ? body : undefined
  }
  return target && put(body, target, tokens) ? body : undefined
}

function put(body: Json, path: Path, tokens: number): boolean {
  let parent = body
  for (const key of path.slice(0, -1)) {
    parent[key] ??= {}
    const next = parent[key]
    if (!isObject(next)) return false
    parent = next
  }
  parent[path.at(-1)!] = tokens
  return true
}

const TOKENS = /"(?:[^"\\]|\\.)*"|[-\d][-+.eE\d]*|[{}[\],:]|\s+|\w+/g

/** All that stood there stands there still, in its order and spelling, but for caps, or a null in whose place the cap now stands. */
function assertOnlyCapDiffers(before: string, after: string, tokens: number): void {
  const [old, now] = [before.match(TOKENS) ?? [], after.match(TOKENS) ?? []]
  assert.equal(now.join(''), after)
  if (old.length === now.length) {
    const differing = old.keys().filter(i => old[i] !== now[i])
    for (const i of differing)
      assert.ok(now[i] === String(tokens) && /^(null|[-\d].*)$/.test(old[i]!), `${old[i]} → ${now[i]}`)
    return
  }
  let head = 0
  while (head < old.length && old[head] === now[head]) head += 1
  let tail = 0
  while (tail < old.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1
  const gone = old.slice(head, old.length - tail)
  assert.ok(gone.length === 0 || (gone.length === 1 && gone[0] === 'null'), `gone: ${gone.join('')}`)
}

test('of any body only the cap changes, in what it says and in its bytes, and the new cap is the one that is read', t => {
  const outcomes = { rewritten: 0, left: 0 }
  const property = fc.property(
    fc.constantFrom(...KINDS),
    anyBody,
    fc.integer({ min: 1, max: 30 }),
    fc.constantFrom(20, 64_000),
    ([path, modelId, field], body, tokens, most) => {
      const operation = operationOf(path)
      const withModel =
        operation.modelIn === 'body' ? body.replace('{', `{"model":"m"${/\{\s*\}/.test(body) ? '' : ','}`) : body
      const before = readDemand(operation, Buffer.from(withModel))
      fc.pre(before.kind === 'ok')
      const parsed: Json = JSON.parse(withModel)
      const needs = operation.name === 'InvokeModel' ? (modelId === NOVA ? 'messages' : 'prompt') : undefined
      const target = needs === undefined || own(parsed, needs) !== undefined ? field : undefined
      const expected = expectedOf(operation.name, parsed, target, { tokens, most })
      const result = capOutput(operation.name, modelId, Buffer.from(withModel), { tokens, most })
      outcomes[result ? 'rewritten' : 'left'] += 1
      assert.equal(result === undefined, expected === undefined)
      if (!result) return
      const after = result.body.toString()
      assert.deepEqual(JSON.parse(after), expected)
      assertOnlyCapDiffers(withModel, after, result.tokens)
      const demand = readDemand(operation, result.body)
      assert.ok(demand.kind === 'ok' && before.kind === 'ok')
      assert.equal(demand.demand.outputCap, result.tokens * demand.demand.answers)
      assert.ok(demand.demand.outputCap <= (before.demand.outputCap ?? Infinity), 'a cap never grows')
    },
  )
  fc.assert(property, seeded(t, 5000))
  t.diagnostic(JSON.stringify(outcomes))
  assert.ok(outcomes.rewritten > 500 && outcomes.left > 500, 'both happen')
})

test('texts full of quotes and backslashes, of whatever length, hide no cap and are changed in no byte', () => {
  for (const piece of ['\\"', '\\\\', '\\\\\\"', 'x\\"', `${'x'.repeat(254)}\\"`, `${'x'.repeat(255)}\\\\`])
    for (let times = 0; times < 300; times += 1) {
      const body = (tokens: number) => `{"a":"${piece.repeat(times)}","inferenceConfig":{"maxTokens":${tokens}}}`
      assert.equal(rewritten(CONVERSE, CLAUDE, body(90)), body(7), `${times} times ${piece}`)
    }
})

test('a cap that is spelt in a thousand digits is left as it is', () => {
  const body = `{"inferenceConfig":{"maxTokens":8.${'0'.repeat(2_000)}}}`
  assert.equal(rewritten(CONVERSE, CLAUDE, body), undefined)
  const thinking = `{"additionalModelRequestFields":{"thinking":{"budget_tokens":8.${'0'.repeat(2_000)}}}}`
  assert.equal(rewritten(CONVERSE, CLAUDE, thinking), undefined)
})

test('objects in objects, deeper than any cap lies, are passed over', () => {
  const deep = (depth: number) => `${'{"inferenceConfig":'.repeat(depth)}1${'}'.repeat(depth)}`
  assert.equal(rewritten(CONVERSE, CLAUDE, deep(100_000))!.slice(0, 40), '{"inferenceConfig":{"maxTokens":7,"infer')
})
