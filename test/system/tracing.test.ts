// Traces as a collector receives them, of calls through a whole Sluice: exactly these spans, in each other and in the
// client's own trace, and nothing of what was asked or answered.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlpReceiver.ts'
import { REFUSED_URL } from '../support/rawUpstream.ts'
import { invocations } from '../support/settled.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, callHttp1, HELLO, PROTOCOLS, until, useTestCredentials } from '../support/wire.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const SAMPLED = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=1', 'x-sluice-user': 'canary-user' }
const MODEL = 'any.model-v1:0'
const CANARY_BODY = HELLO.replace('hello', 'canary-prompt')
const CANARY_ANSWER = '{"output":"canary-answer","usage":{"inputTokens":7,"outputTokens":3,"cacheReadInputTokens":2}}'
const QUOTA = 'tokensPerMinute: 60000000'

type Respond = (request: http.IncomingMessage, response: http.ServerResponse) => void

let bedrock: FakeBedrock
let receiver: OtlpReceiver
let respond: Respond
const answer: Respond = (_request, response) => response.end(CANARY_ANSWER)

before(async () => {
  useTestCredentials()
  forgetOtel()
  bedrock = await startFakeBedrock((request, response) => respond(request, response))
  receiver = await startOtlpReceiver()
})

after(async () => {
  await bedrock.close()
  await receiver.close()
})

beforeEach(() => {
  forgetOtel()
  respond = answer
  bedrock.seen.length = 0
  receiver.exports.length = 0
})

function forgetOtel(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) delete process.env[name]
}

const traceIdOf = (line: object) => (line as { traceId?: string }).traceId

interface Traced {
  spans: ReceivedSpan[]
  sluice: TestSluice
}

/** What the collector has once the Sluice has stopped, which sends all there is. */
async function traced(
  calls: (sluice: TestSluice) => Promise<unknown>,
  { quota = QUOTA, rest = '', otel = {} }: { quota?: string; rest?: string; otel?: Record<string, string> } = {},
): Promise<Traced> {
  Object.assign(process.env, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...otel })
  const sluice = await startTestSluice(oneModel(bedrock.url, quota, rest), { otel: process.env })
  try {
    await calls(sluice)
  } finally {
    await sluice.stop(0)
  }
  assert.ok(receiver.exports.every(({ path, body }) => path === '/v1/traces' && !body.includes('canary')))
  return { spans: receiver.spans(), sluice }
}

/** Whose name is unique among them. */
function named(spans: ReceivedSpan[], name: string): ReceivedSpan {
  const found = spans.filter(span => span.name === name)
  assert.equal(found.length, 1, `${name} among ${spans.map(span => span.name)}`)
  return found[0]!
}

const SERVER = 'POST /model/{id}/converse'
const CLIENT = `chat ${MODEL}`
const names = (spans: ReceivedSpan[]) => spans.map(({ name, kind }) => `${kind} ${name}`)

/** Ids and times hang together: one root, and all else within it. */
function assertTree(spans: ReceivedSpan[], rootName: string): ReceivedSpan {
  const root = named(spans, rootName)
  assert.equal(new Set(spans.map(span => span.spanId)).size, spans.length)
  for (const span of spans) {
    assert.equal(span.traceId, root.traceId)
    if (span !== root) assert.equal(span.parentId, root.spanId, span.name)
    assert.ok(root.startMs <= span.startMs && span.startMs <= span.endMs && span.endMs <= root.endMs, span.name)
  }
  return root
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a plain call is one trace, the client's own: the whole, its wait and its call to Bedrock`, async () => {
    const { spans, sluice } = await traced(({ url }) => call(protocol, url, { headers: SAMPLED, body: CANARY_BODY }))
    assert.deepEqual(names(spans).sort(), [`client ${CLIENT}`, 'internal wait', `server ${SERVER}`])
    const root = assertTree(spans, SERVER)
    assert.deepEqual([root.traceId, root.parentId, root.isError], [TRACE, PARENT, false])
    const [line] = invocations(sluice)
    assert.equal(traceIdOf(line!), TRACE)
    const { 'sluice.wait_ms': waitMs, ...whole } = root.attributes
    assert.ok(Number(waitMs) >= 0)
    assert.deepEqual(whole, {
      'http.request.method': 'POST',
      'http.route': '/model/{id}/converse',
      'http.response.status_code': 200,
      'sluice.operation': 'Converse',
      'sluice.request_id': line!.requestId,
      'sluice.model': 'any',
      'sluice.client': 'open',
      'sluice.priority': 'normal',
      'sluice.pool': 'only',
      'sluice.outcome': 'answered',
      'sluice.coalesced': false,
      'sluice.attempts': 1,
      'sluice.throttles': 0,
      'sluice.reserved_tokens': line!.reservedTokens,
      'sluice.charged_tokens': line!.chargedTokens,
    })
    const { 'sluice.first_byte_ms': firstByteMs, ...sent } = named(spans, CLIENT).attributes
    assert.ok(Number(firstByteMs) >= 0)
    assert.deepEqual(sent, {
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'cloud.region': 'us-east-1',
      'gen_ai.provider.name': 'aws.bedrock',
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': MODEL,
      'gen_ai.usage.input_tokens': 9,
      'gen_ai.usage.output_tokens': 3,
      'gen_ai.usage.cache_read.input_tokens': 2,
      'gen_ai.usage.cache_creation.input_tokens': 0,
      'sluice.operation': 'Converse',
      'sluice.pool': 'only',
      'sluice.attempt': 1,
    })
    assert.deepEqual(named(spans, 'wait').attributes, {})
  })
}

test('Bedrock is told the span of the call to it, in place of what the client named, and the state as it came', async () => {
  const { spans } = await traced(({ url }) => callHttp1(url, { headers: SAMPLED }))
  const { headers } = bedrock.seen[0]!
  assert.equal(header(headers, 'traceparent'), `00-${TRACE}-${named(spans, CLIENT).spanId}-01`)
  assert.equal(header(headers, 'tracestate'), 'vendor=1')
  const copies = headers.filter((name, i) => i % 2 === 0 && /^trace/i.test(name))
  assert.equal(copies.length, 2)
})

test('a call that belongs to no trace, or names none that is valid, begins one, which the log names', async () => {
  const { spans, sluice } = await traced(async ({ url }) => {
    await callHttp1(url)
    await callHttp1(url, { headers: { traceparent: `00-${TRACE}-${'0'.repeat(16)}-01` } })
    await callHttp1(url, { headers: { traceparent: [SAMPLED.traceparent, SAMPLED.traceparent] } })
  })
  const roots = spans.filter(span => span.kind === 'server')
  assert.deepEqual(
    roots.map(span => span.parentId),
    ['', '', ''],
  )
  const ids = roots.map(span => span.traceId)
  assert.equal(new Set([TRACE, ...ids]).size, 4)
  assert.deepEqual(invocations(sluice).map(traceIdOf).sort(), ids.sort())
})

test('a throttle that the client never heard of is in its trace: the wait, the call, the wait again, the call again', async () => {
  let sends = 0
  respond = (request, response) => {
    sends += 1
    if (sends > 1) return answer(request, response)
    response.writeHead(429, { 'x-amzn-errortype': 'ThrottlingException', 'retry-after-ms': '1' })
    response.end('{"message":"Too many tokens, please wait before trying again."}')
  }
  const { spans } = await traced(({ url }) => callHttp1(url))
  const root = assertTree(spans, SERVER)
  const steps = spans.filter(span => span !== root)
  assert.deepEqual(names(steps), ['internal wait', `client ${CLIENT}`, 'internal wait', `client ${CLIENT}`])
  const [, throttled, again, served] = steps as [ReceivedSpan, ReceivedSpan, ReceivedSpan, ReceivedSpan]
  assert.ok(throttled.endMs <= again.startMs && again.endMs <= served.startMs)
  const { attributes } = throttled
  assert.deepEqual(
    [
      throttled.isError,
      attributes['sluice.throttled'],
      attributes['http.response.status_code'],
      attributes['error.type'],
    ],
    [true, true, 429, '429'],
  )
  assert.deepEqual([served.isError, served.attributes['sluice.attempt']], [false, 2])
  assert.deepEqual(
    [root.isError, root.attributes['sluice.attempts'], root.attributes['sluice.throttles']],
    [false, 2, 1],
  )
})

test('a failure that was sent again is in its trace', async () => {
  let sends = 0
  respond = (request, response) => {
    sends += 1
    if (sends > 1) answer(request, response)
    else request.socket.destroy()
  }
  const { spans } = await traced(({ url }) => callHttp1(url))
  const steps = spans.filter(span => span !== assertTree(spans, SERVER))
  assert.deepEqual(names(steps), ['internal wait', `client ${CLIENT}`, 'internal wait', `client ${CLIENT}`])
  assert.deepEqual([steps[1]!.isError, steps[1]!.attributes['error.type']], [true, 'upstream-cut'])
})

test('the time that a call waited for its turn is a span of its own', async () => {
  const { spans } = await traced(({ url }) => callHttp1(url), { quota: 'requestsPerMinute: 600' })
  const root = assertTree(spans, SERVER)
  const wait = named(spans, 'wait')
  assert.ok(Number(root.attributes['sluice.wait_ms']) > 20, 'the ledger starts empty')
  assert.equal(wait.endMs - wait.startMs, root.attributes['sluice.wait_ms'])
  assert.equal(named(spans, CLIENT).startMs, wait.endMs)
})

test('a refusal after a wait ends the trace with its code and the status that the client was told', async () => {
  const headers = { 'x-sluice-max-wait-ms': '20' }
  const { spans } = await traced(({ url }) => callHttp1(url, { headers }), { quota: 'requestsPerMinute: 1' })
  const root = assertTree(spans, SERVER)
  assert.deepEqual(names(spans).sort(), ['internal wait', `server ${SERVER}`])
  const { attributes } = root
  assert.deepEqual(
    [attributes['sluice.outcome'], attributes['sluice.refusal'], attributes['http.response.status_code']],
    ['refused', 'wait-timeout', 429],
  )
  assert.deepEqual([root.isError, attributes['sluice.attempts']], [false, 0])
})

test("a refusal for want of Bedrock is the server's error", async () => {
  respond = request => request.socket.destroy()
  const rest = 'retries: { maxAttempts: 1 }'
  const { spans } = await traced(({ url }) => callHttp1(url), { rest })
  const root = assertTree(spans, SERVER)
  assert.deepEqual(
    [root.isError, root.attributes['error.type'], root.attributes['http.response.status_code']],
    [true, 'upstream-cut', 502],
  )
})

test('a stream is one call that lasts until its end', async () => {
  respond = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    response.write('canary-first')
    setImmediate(() => response.end('canary-last'))
  }
  const path = '/model/any.model-v1%3A0/converse-stream'
  const { spans } = await traced(({ url }) => callHttp1(url, { path }))
  const root = assertTree(spans, 'POST /model/{id}/converse-stream')
  assert.deepEqual(names(spans).sort(), [
    `client ${CLIENT}`,
    'internal wait',
    'server POST /model/{id}/converse-stream',
  ])
  assert.equal(root.attributes['sluice.operation'], 'ConverseStream')
})

test('a stream that breaks off is an error of both spans', async () => {
  respond = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream', 'content-length': '100' })
    response.write('canary-first')
    setImmediate(() => response.destroy())
  }
  const path = '/model/any.model-v1%3A0/converse-stream'
  const { spans } = await traced(({ url }) => callHttp1(url, { path }))
  const root = assertTree(spans, 'POST /model/{id}/converse-stream')
  for (const span of [root, named(spans, CLIENT)])
    assert.deepEqual([span.isError, span.attributes['error.type']], [true, 'upstream-cut'])
  assert.equal(root.attributes['sluice.outcome'], 'cut')
})

/** A call whose answer never comes; the returned function leaves. */
async function unanswered(sluice: TestSluice): Promise<() => void> {
  respond = () => {}
  const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent: false })
  request.on('error', () => {})
  request.end(CANARY_BODY)
  await until(() => bedrock.seen.length === 1, 'it is sent')
  return () => request.destroy()
}

test('a client that leaves ends its trace, and no error is made of it', async () => {
  const { spans } = await traced(async sluice => {
    const leave = await unanswered(sluice)
    leave()
    await until(() => invocations(sluice).length === 1, 'it has ended')
  })
  const root = assertTree(spans, SERVER)
  assert.deepEqual(names(spans).sort(), [`client ${CLIENT}`, 'internal wait', `server ${SERVER}`])
  assert.deepEqual([root.isError, root.attributes['sluice.outcome']], [false, 'aborted'])
  const sent = named(spans, CLIENT)
  assert.deepEqual([sent.isError, sent.attributes['sluice.abandoned']], [false, true])
})

test('the trace of a call that a stop cuts short is sent whole', async () => {
  const { spans } = await traced(unanswered)
  assertTree(spans, SERVER)
  assert.deepEqual(names(spans).sort(), [`client ${CLIENT}`, 'internal wait', `server ${SERVER}`])
})

test('a shared call is in the trace of one of those who asked, the others tell that they shared', async () => {
  const held: http.ServerResponse[] = []
  respond = (_request, response) => void held.push(response)
  const { spans } = await traced(
    async sluice => {
      const calls = [callHttp1(sluice.url), callHttp1(sluice.url)]
      await until(() => held.length === 1, 'one is sent')
      await until(
        async () => (await callHttp1(sluice.url, { method: 'GET', path: '/status' })).body.includes('"inFlight":2'),
        'both are in',
      )
      answer(undefined as never, held[0]!)
      await Promise.all(calls)
    },
    { rest: '    coalesce: shared' },
  )
  const roots = spans.filter(span => span.kind === 'server')
  assert.deepEqual(roots.map(span => span.attributes['sluice.coalesced']).sort(), [false, true])
  assert.equal(spans.filter(span => span.kind === 'client').length, 1)
})

test('a fallback to another model is in the same trace, each call under the id that it was made by', async () => {
  respond = (request, response) => {
    if (request.url!.includes('any.model')) response.writeHead(500).end('{}')
    else answer(request, response)
  }
  const pool = `{ name: other, region: eu-west-1, modelId: eu.other-v1, endpoint: "${bedrock.url}", ${QUOTA} }`
  const rest = `    fallback: [{ model: other }]
  - { name: other, modelIds: [other-v1], outputBurndown: 1, maxOutputTokens: 9, pools: [${pool}] }
retries: { maxAttempts: 1 }`
  const { spans } = await traced(({ url }) => callHttp1(url), { rest })
  const root = assertTree(spans, SERVER)
  assert.deepEqual([root.attributes['sluice.fallback'], root.isError], ['model', false])
  const failed = named(spans, CLIENT)
  const served = named(spans, 'chat eu.other-v1')
  assert.deepEqual([failed.isError, failed.attributes['error.type']], [true, '500'])
  assert.deepEqual([served.isError, served.attributes['cloud.region']], [false, 'eu-west-1'])
})

test('what is not a call of a model has no generative attributes', async () => {
  const path = '/guardrail/some/version/1/apply'
  const { spans } = await traced(({ url }) => callHttp1(url, { path }))
  assertTree(spans, 'POST /guardrail/{id}/version/{id}/apply')
  const { attributes } = named(spans, 'ApplyGuardrail')
  assert.deepEqual([attributes['gen_ai.request.model'], attributes['gen_ai.operation.name']], [undefined, undefined])
})

test('who sends is told by the standard variables, else by ourselves', async () => {
  const { resource } = (await traced(({ url }) => callHttp1(url))).spans[0]!
  assert.equal(resource['service.name'], 'sluice')
  assert.match(String(resource['service.version']), /^\d+\.\d+\.\d+/)
  assert.match(String(resource['service.instance.id']), /^[0-9a-f-]{36}$/)
  receiver.exports.length = 0
  const otel = {
    OTEL_SERVICE_NAME: 'gate',
    OTEL_RESOURCE_ATTRIBUTES: 'service.instance.id=me,deployment.environment.name=test',
  }
  const named = (await traced(({ url }) => callHttp1(url), { otel })).spans[0]!.resource
  assert.deepEqual(
    [named['service.name'], named['service.instance.id'], named['deployment.environment.name']],
    ['gate', 'me', 'test'],
  )
})

test('a trace that is not sampled is not sent, its call goes as it came, and its client is still found in the log', async () => {
  for (const [otel, headers] of [
    [{ OTEL_TRACES_SAMPLER: 'always_off' }, SAMPLED],
    [{}, { ...SAMPLED, traceparent: `00-${TRACE}-${PARENT}-00` }],
    [{ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' }, {}],
  ] as [Record<string, string>, Record<string, string>][]) {
    bedrock.seen.length = 0
    forgetOtel()
    const { spans, sluice } = await traced(({ url }) => callHttp1(url, { headers }), { otel })
    assert.deepEqual([spans, receiver.exports], [[], []])
    assert.equal(header(bedrock.seen[0]!.headers, 'traceparent'), headers.traceparent)
    const [line] = invocations(sluice)
    assert.equal(traceIdOf(line!), headers.traceparent && TRACE)
  }
})

test('without propagation a trace begins here and ends here', async () => {
  const { spans } = await traced(({ url }) => callHttp1(url, { headers: SAMPLED }), {
    otel: { OTEL_PROPAGATORS: 'none' },
  })
  const root = assertTree(spans, SERVER)
  assert.notEqual(root.traceId, TRACE)
  assert.equal(header(bedrock.seen[0]!.headers, 'traceparent'), SAMPLED.traceparent)
})

test('a sampler that is not known is said in the log, and all is traced', async () => {
  const { spans, sluice } = await traced(({ url }) => callHttp1(url), { otel: { OTEL_TRACES_SAMPLER: 'dice' } })
  assert.equal(spans.length, 3)
  const warnings = sluice.logged().flatMap(({ msg, warning }) => (msg === 'tracing' && warning ? [warning] : []))
  assert.match(String(warnings), /^OTEL_TRACES_SAMPLER value "dice" invalid, defaulting to "parentbased_always_on"\.$/)
})

test('a collector that is away, or says no, costs nobody anything and is one line of the log', async t => {
  const refusing = await startOtlpReceiver(401)
  t.after(() => refusing.close())
  for (const url of [refusing.url, REFUSED_URL]) {
    forgetOtel()
    const otel = {
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '300',
      OTEL_BSP_SCHEDULE_DELAY: '1',
      OTEL_BSP_MAX_QUEUE_SIZE: '4',
    }
    const warnings = (sluice: TestSluice) =>
      sluice.logged().filter(({ msg, warning }) => msg === 'tracing' && /could not be sent:/.test(String(warning)))
    const { sluice } = await traced(
      async sluice => {
        for (let i = 0; i < 20; i++) assert.equal((await callHttp1(sluice.url)).status, 200)
        await until(() => warnings(sluice).length > 0, 'it is said')
        for (let i = 0; i < 20; i++) assert.equal((await callHttp1(sluice.url)).status, 200)
      },
      { otel },
    )
    assert.equal(warnings(sluice).length, 1)
  }
})
