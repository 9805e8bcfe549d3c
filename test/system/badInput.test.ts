// What a client may get wrong in a well-formed request: answered in Bedrock's shape, over both protocols, nothing forwarded,
// nothing repeated, and the process as well as before.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { startTestSluice, type TestSluice } from '../support/sluice.ts'
import { assertRefusal, type Call, CONVERSE, call, HELLO, PROTOCOLS, useTestCredentials } from '../support/wire.ts'

const SECRET = 'a-secret-of-the-prompt'
const VALIDATION = { status: 400, exception: 'ValidationException', code: 'malformed-request' }

let bedrock: FakeBedrock
let sluice: TestSluice

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{}'))
  sluice = await startTestSluice(`models:
  - name: some
    modelIds: ["any.*", "arn:*"]
    maxOutputTokens: 100
    pools: [{ name: only, region: us-east-1, endpoint: "${bedrock.url}", tokensPerMinute: 60000 }]
server: { maxBodyBytes: 2048 }
`)
})

after(async () => {
  await bedrock.close()
  await sluice.stop(0)
})

afterEach(async () => {
  assert.equal(bedrock.seen.length, 0, 'nothing was forwarded')
  assert.deepEqual(
    sluice.logged().filter(line => line.msg === 'fault' || JSON.stringify(line).includes(SECRET)),
    [],
    'no fault and no prompt in the log',
  )
  assert.equal((await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/healthz' })).status, 200)
})

interface Case extends Call {
  what: string
  status: number
  exception: string
  code: string
  says?: RegExp
}

const notFound = { status: 404, exception: 'UnknownOperationException', code: 'unknown-route' }
const wrongMethod = { status: 405, exception: 'UnknownOperationException', code: 'method-not-allowed' }
const unknownModel = { status: 404, exception: 'ResourceNotFoundException', code: 'unknown-model' }
const body = (fields: object) => JSON.stringify({ ...fields, messages: [{ content: [{ text: SECRET }] }] })
const cap = (maxTokens: unknown) => body({ inferenceConfig: { maxTokens } })

const CASES: Case[] = [
  { what: 'an unknown path', path: '/nothing/here', ...notFound },
  { what: 'the root', path: '/', ...notFound },
  { what: 'a path below a known one', path: `${CONVERSE}/more`, ...notFound },
  { what: 'an empty modelId', path: '/model//converse', ...notFound },
  { what: 'a path that climbs', path: '/../../etc/passwd', ...notFound },
  { what: 'an operation that Bedrock has not', path: '/model/any.x/invoke-again', ...notFound },
  { what: 'a GET of an inference operation', method: 'GET', path: CONVERSE, ...wrongMethod },
  { what: 'a DELETE of an inference operation', method: 'DELETE', path: CONVERSE, ...wrongMethod },
  { what: 'a method that fastify does not know', method: 'PROPFIND', path: CONVERSE, ...wrongMethod },
  { what: 'a POST to inference profiles', path: '/inference-profiles', ...wrongMethod },
  { what: 'an unknown model', path: '/model/other.model/converse', ...unknownModel, says: /other\.model/ },
  { what: 'an unknown model without a body', path: '/model/other.model/invoke', body: '', ...unknownModel },
  { what: 'malformed JSON', body: `{"messages": "${SECRET}`, ...VALIDATION, says: /JSON/ },
  { what: 'JSON that is no object', body: `["${SECRET}"]`, ...VALIDATION, says: /array/ },
  { what: 'an empty body where there must be one', body: '', ...VALIDATION },
  { what: 'a body of null bytes', body: Buffer.alloc(64), ...VALIDATION },
  { what: 'a cap that is a text', body: cap(SECRET), ...VALIDATION, says: /inferenceConfig\.maxTokens.*string/ },
  { what: 'a negative cap', body: cap(-1), ...VALIDATION, says: /negative/ },
  { what: 'a cap with a fraction', body: cap(1.5), ...VALIDATION, says: /fraction/ },
  {
    what: 'a cap beyond all numbers',
    body: '{"inferenceConfig":{"maxTokens":1e400}}',
    ...VALIDATION,
    says: /too large/,
  },
  {
    what: 'an unknown priority',
    headers: { 'x-sluice-priority': 'urgent' },
    ...VALIDATION,
    says: /x-sluice-priority.*high/,
  },
  { what: 'a wait that is no number', headers: { 'x-sluice-max-wait-ms': 'soon' }, ...VALIDATION, says: /max-wait-ms/ },
  { what: 'a negative wait', headers: { 'x-sluice-max-wait-ms': '-1' }, ...VALIDATION },
  { what: 'a wait with a unit', headers: { 'x-sluice-max-wait-ms': '5s' }, ...VALIDATION },
  { what: 'an empty wait', headers: { 'x-sluice-max-wait-ms': '' }, ...VALIDATION },
  { what: 'half a percent escape', path: '/model/any.%/converse', ...VALIDATION, says: /percent/ },
  { what: 'escapes that are no UTF-8', path: '/model/any.%ff%fe/converse', ...VALIDATION, says: /percent/ },
  {
    what: 'a modelId beyond 2048 characters',
    path: `/model/any.${'x'.repeat(2045)}/converse`,
    ...VALIDATION,
    says: /2048/,
  },
  {
    what: "a request larger than a whole minute's quota",
    body: cap(60_001),
    status: 400,
    exception: 'ServiceQuotaExceededException',
    code: 'cannot-fit',
    says: /tokens-per-minute quota.*60000/,
  },
  {
    what: 'a body over the limit',
    body: body({ padding: 'x'.repeat(3_000) }),
    status: 413,
    exception: 'ValidationException',
    code: 'body-too-large',
    says: /2048 bytes/,
  },
]

for (const protocol of PROTOCOLS) {
  for (const { what, says, status, exception, code, ...request } of CASES) {
    test(`${protocol}: ${what} is refused with ${status} ${exception}`, async () => {
      const reply = await call(protocol, sluice.url, request)
      const message = assertRefusal(reply, { status, exception, code })
      if (says) assert.match(message, says)
      assert.doesNotMatch(message, new RegExp(SECRET))
      assert.equal(reply.headers['retry-after'], undefined, 'waiting would not cure it')
      assert.equal(reply.broken, false)
      if (status === 405) assert.match(reply.headers.allow!, /^(GET|POST)$/)
    })
  }

  test(`${protocol}: a modelId of exactly 2048 characters is no fault of the id`, async () => {
    const reply = await call(protocol, sluice.url, { path: `/model/zzz.${'x'.repeat(2044)}/converse` })
    assert.equal(reply.headers['x-sluice-refusal'], 'unknown-model')
  })

  test(`${protocol}: HEAD of an unknown path is answered without a body`, async () => {
    const reply = await call(protocol, sluice.url, { method: 'HEAD', path: '/nothing' })
    assert.deepEqual([reply.status, reply.body.length, reply.broken], [404, 0, false])
  })

  test(`${protocol}: OpenAI's and Anthropic's clients find the refusal in their own shape and in Bedrock's`, async () => {
    for (const path of ['/openai/v1/chat/completions', '/openai/v1/responses', '/anthropic/v1/messages']) {
      const field = path.endsWith('responses') ? 'max_output_tokens' : 'max_tokens'
      const bad = await call(protocol, sluice.url, { path, body: body({ model: 'any.m', [field]: 'many' }) })
      const message = assertRefusal(bad, VALIDATION)
      const said = JSON.parse(bad.body.toString())
      assert.deepEqual(said, {
        type: 'error',
        message,
        error: { type: 'invalid_request_error', code: 'ValidationException', message },
      })
      assert.equal(bad.headers['x-should-retry'], 'false', 'their SDKs would try again')
      const unknown = await call(protocol, sluice.url, { path, body: body({ model: 'other' }) })
      assertRefusal(unknown, unknownModel)
      assert.equal(JSON.parse(unknown.body.toString()).error.type, 'not_found_error')
      assertRefusal(await call(protocol, sluice.url, { path, body: body({}) }), VALIDATION)
      assertRefusal(await call(protocol, sluice.url, { path, body: body({ model: 7 }) }), VALIDATION)
    }
    const lost = await call(protocol, sluice.url, { path: '/openai/v1/completions' })
    assert.equal(JSON.parse(lost.body.toString()).error.type, 'not_found_error')
  })
}

test('a refusal before admission is found in the log by the request id that its client was told', async () => {
  const reply = await call('HTTP/1.1', sluice.url, { path: '/model/other/converse', body: HELLO })
  assert.ok(sluice.logged().some(line => line.requestId === reply.headers['x-amzn-requestid']))
})
