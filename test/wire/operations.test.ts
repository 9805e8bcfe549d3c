// Routes: which operation a method and a raw path are, and what the one id segment decodes to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeId, matchOperation, type OperationName } from '../../src/wire/operations.ts'
import { seeded } from '../support/seeds.ts'

const ROUTES: [OperationName, string, string, string | undefined][] = [
  ['InvokeModel', 'POST', '/model/m/invoke', 'm'],
  ['InvokeModelWithResponseStream', 'POST', '/model/m/invoke-with-response-stream', 'm'],
  ['Converse', 'POST', '/model/m/converse', 'm'],
  ['ConverseStream', 'POST', '/model/m/converse-stream', 'm'],
  ['CountTokens', 'POST', '/model/m/count-tokens', 'm'],
  ['ApplyGuardrail', 'POST', '/guardrail/g/version/DRAFT/apply', 'g'],
  ['InvokeGuardrailChecks', 'POST', '/guardrail-checks/invoke', undefined],
  ['StartAsyncInvoke', 'POST', '/async-invoke', undefined],
  ['ListAsyncInvokes', 'GET', '/async-invoke', undefined],
  ['GetAsyncInvoke', 'GET', '/async-invoke/a', 'a'],
  ['ChatCompletions', 'POST', '/openai/v1/chat/completions', undefined],
  ['Responses', 'POST', '/openai/v1/responses', undefined],
  ['Messages', 'POST', '/anthropic/v1/messages', undefined],
  ['ListInferenceProfiles', 'GET', '/inference-profiles', undefined],
  ['GetInferenceProfile', 'GET', '/inference-profiles/p', 'p'],
]

const METERED = ROUTES.slice(0, 4).map(([name]) => name)
const METERED_BY_BODY = ['StartAsyncInvoke', 'ChatCompletions', 'Responses', 'Messages']

for (const [name, method, path, id] of ROUTES)
  test(`${method} ${path} is ${name}`, () => {
    const match = matchOperation(method, `${path}?maxResults=5&nextToken=%2F/x`)
    assert.equal(match.kind, 'found')
    const { operation, id: found } = match.route
    assert.equal(operation.name, name)
    assert.equal(operation.method, method)
    assert.equal(found, id)
    assert.equal(operation.metered, [...METERED, ...METERED_BY_BODY].includes(name))
    assert.equal(operation.modelIn === 'body', METERED_BY_BODY.includes(name))
    assert.equal(operation.plane, name.includes('InferenceProfile') ? 'control' : 'runtime')
  })

test('the dialects are those whose clients parse the errors', () => {
  const dialect = (path: string) => {
    const match = matchOperation('POST', path)
    return match.kind === 'found' ? match.route.operation.dialect : match.kind
  }
  assert.equal(dialect('/openai/v1/chat/completions'), 'openai')
  assert.equal(dialect('/openai/v1/responses'), 'openai')
  assert.equal(dialect('/anthropic/v1/messages'), 'anthropic')
  assert.equal(dialect('/model/m/converse'), 'bedrock')
})

function idIn(segment: string): string | undefined {
  const match = matchOperation('POST', `/model/${segment}/invoke`)
  return match.kind === 'found' ? match.route.id : match.kind
}

const CLAUDE = 'anthropic.claude-3-haiku-20240307-v1:0'
const PROFILE = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123'

test('a modelId with a raw colon and one with %3A are the same model', () => {
  assert.equal(idIn(CLAUDE), CLAUDE)
  assert.equal(idIn(CLAUDE.replace(':', '%3A')), CLAUDE)
  assert.equal(idIn(CLAUDE.replace(':', '%3a')), CLAUDE)
})

test("an ARN's %2F does not split the path, whether its colons are encoded or not", () => {
  assert.equal(idIn(encodeURIComponent(PROFILE)), PROFILE)
  assert.equal(idIn(PROFILE.replace('/', '%2F')), PROFILE)
  assert.equal(idIn(PROFILE), 'unknown')
})

test('a double-encoded id is decoded once only', () => {
  assert.equal(idIn('m%253A0'), 'm%3A0')
})

test('a prefix, a trailing slash, an empty segment and another case are other paths', () => {
  for (const path of [
    '/',
    '',
    '*',
    '/model/m/invoke/',
    '/model//invoke',
    '//model/m/invoke',
    '/base/model/m/invoke',
    '/Model/m/invoke',
    '/model/m/Invoke',
    '/model/m',
    'model/m/invoke',
    'x/model/m/invoke',
    '@evil.example/model/m/invoke',
    'http:/model/m/invoke',
  ])
    assert.equal(matchOperation('POST', path).kind, 'unknown', path)
})

test('dot segments are no ids, however they are written: whoever resolves them has another path', () => {
  for (const dots of ['.', '..', '%2e', '%2E%2e', '.%2e', '%2e.']) {
    assert.equal(matchOperation('POST', `/model/${dots}/converse`).kind, 'unknown', dots)
    assert.equal(matchOperation('POST', `/guardrail/g/version/${dots}/apply`).kind, 'unknown', dots)
    assert.equal(matchOperation('GET', `/inference-profiles/${dots}`).kind, 'unknown', dots)
  }
  assert.equal(idIn('...'), '...')
})

test('a target that two readers may read in two ways is malformed: a fragment, spaces, control bytes, bare UTF-8', () => {
  for (const junk of ['#', ' ', '\t', '\0', '\x7f', '\xff', 'ü', '\r\n'])
    for (const target of [`/model/m${junk}/invoke`, `/model/m/invoke?a=${junk}`])
      assert.equal(matchOperation('POST', target).kind, 'malformed', JSON.stringify(target))
})

test('a query has 64 parameters at most, however short: each costs work to sign', () => {
  const query = (count: number) => Array.from({ length: count }, () => 'a').join('&')
  assert.equal(matchOperation('GET', `/async-invoke?${query(64)}`).kind, 'found')
  assert.equal(matchOperation('GET', `/async-invoke?${query(65)}`).kind, 'malformed')
  assert.equal(matchOperation('POST', `/model/m/invoke?${'&'.repeat(30_000)}`).kind, 'malformed')
})

test('the wrong method says which are right', () => {
  assert.deepEqual(matchOperation('GET', '/model/m/invoke'), { kind: 'wrong-method', allowed: ['POST'] })
  assert.deepEqual(matchOperation('PUT', '/async-invoke'), { kind: 'wrong-method', allowed: ['POST', 'GET'] })
  assert.equal(matchOperation('post', '/model/m/invoke').kind, 'wrong-method')
})

test('an id that is no percent-encoded UTF-8 is malformed, not thrown over', () => {
  for (const id of ['%', '%zz', 'm%3', '%C3', '%FF%FE'])
    assert.equal(matchOperation('POST', `/model/${id}/invoke`).kind, 'malformed', id)
})

test('an id of 2048 characters passes, however long its encoding, and one of 2049 does not', () => {
  assert.equal(idIn('%3A'.repeat(2048))?.length, 2048)
  assert.equal(matchOperation('POST', `/model/${'m'.repeat(2049)}/invoke`).kind, 'malformed')
})

test('every id that was encoded as the SDKs do comes back', t => {
  // No SDK can send a dot segment: it would name another path.
  const ids = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 }).filter(id => id !== '.' && id !== '..')
  fc.assert(
    fc.property(ids, id => assert.equal(idIn(encodeId(id)), id)),
    seeded(t, 100),
  )
  assert.equal(encodeId("a:b/c!'()*d"), 'a%3Ab%2Fc%21%27%28%29%2Ad')
})

test('no request target throws', t => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom('GET', 'POST', 'x'), (path, method) => {
      matchOperation(method, path)
      matchOperation(method, `/model/${path}/invoke`)
    }),
    seeded(t, 100),
  )
})
