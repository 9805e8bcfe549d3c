// Errors that Bedrock itself answers with, and its throttles: what is the client's to see passes unchanged, what waiting can
// cure the client never sees.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { settledAfter, statusOf } from '../support/settled.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, HELLO, PROTOCOLS, until, useTestCredentials } from '../support/wire.ts'

const THROTTLED = '{"message":"Too many tokens, please wait before trying again."}'
const errorType = (name: string) => `${name}:http://internal.amazon.com/coral/com.amazon.bedrock/`

let bedrock: FakeBedrock
let sluice: TestSluice
let respond: (response: http.ServerResponse) => void

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => respond(response))
})

after(() => bedrock.close())

/** Each test its own: a pool that was throttled rests, and would hold up the next test. */
beforeEach(async () => {
  sluice = await startTestSluice(oneModel(bedrock.url, 'tokensPerMinute: 60000000'))
})

afterEach(() => sluice.stop(0))

function throttle(response: http.ServerResponse, body: string | Buffer = THROTTLED): void {
  const headers = {
    'x-amzn-errortype': errorType('ThrottlingException'),
    'x-amzn-requestid': 'of-bedrock',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  }
  response.writeHead(429, headers).end(body)
}

const ERRORS: [number, string][] = [
  [400, 'ValidationException'],
  [400, 'ServiceQuotaExceededException'],
  [403, 'AccessDeniedException'],
  [404, 'ResourceNotFoundException'],
  [408, 'ModelTimeoutException'],
  [424, 'ModelErrorException'],
  [429, 'ModelNotReadyException'],
  [500, 'InternalServerException'],
  [503, 'ServiceUnavailableException'],
  [529, 'OverloadedException'],
]

for (const protocol of PROTOCOLS) {
  for (const [status, name] of ERRORS) {
    test(`${protocol}: Bedrock's ${status} ${name} reaches the client unchanged, is sent once and charged nothing`, async () => {
      const body = `{"message":"says  ${name}", "originalStatusCode":1.0}`
      respond = response => {
        const cookies = ['a=1', 'b=2; Path=/']
        response.setHeader('set-cookie', cookies)
        response.writeHead(status, {
          'x-amzn-errortype': errorType(name),
          'x-amzn-requestid': 'of-bedrock',
          'content-type': 'application/json',
          'retry-after': '7',
        })
        response.end(body)
      }
      const [line] = await settledAfter(sluice, 1, async () => {
        // Its hint outlasts the deadline of those that would be sent again.
        const reply = await call(protocol, sluice.url, { headers: { 'x-sluice-max-wait-ms': '1000' } })
        assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [status, body, false])
        assert.equal(reply.headers['x-amzn-errortype'], errorType(name))
        assert.equal(reply.headers['x-amzn-requestid'], 'of-bedrock')
        assert.equal(reply.headers['retry-after'], '7')
        assert.deepEqual(reply.headers['set-cookie'], ['a=1', 'b=2; Path=/'])
        assert.equal(reply.headers['x-sluice-refusal'], undefined)
        assert.equal(reply.headers['x-sluice-attempts'], '1')
      })
      assert.deepEqual([line!.outcome, line!.status, line!.chargedTokens], ['answered', status, 0])
    })
  }

  test(`${protocol}: a throttle is waited out and the client never hears of it`, async () => {
    let sends = 0
    respond = response => {
      sends += 1
      if (sends === 1) throttle(response)
      else response.end('{"usage":{"inputTokens":3,"outputTokens":2}}')
    }
    const [line] = await settledAfter(sluice, 1, async () => {
      const reply = await call(protocol, sluice.url)
      assert.equal(reply.status, 200)
      assert.equal(reply.headers['x-sluice-attempts'], '2')
      assert.ok(Number(reply.headers['x-sluice-wait-ms']) >= 400, 'the pool rested')
      assert.equal(reply.headers['retry-after'], undefined)
    })
    assert.deepEqual([line!.throttles, line!.chargedTokens], [1, 13])
    assert.deepEqual(bedrock.seen.at(-1)!.body, bedrock.seen.at(-2)!.body)
  })
}

test("one who is throttled for ever hears Bedrock's own throttle after four sends, with three hints when to come back", async () => {
  respond = response => throttle(response)
  const sentBefore = bedrock.seen.length
  const [line] = await settledAfter(sluice, 1, async () => {
    const reply = await call('HTTP/1.1', sluice.url)
    assert.deepEqual([reply.status, reply.body.toString(), reply.broken], [429, THROTTLED, false])
    assert.equal(reply.headers['x-amzn-errortype'], errorType('ThrottlingException'))
    assert.equal(reply.headers['x-amzn-requestid'], 'of-bedrock')
    const ms = Number(reply.headers['retry-after-ms'])
    assert.ok(ms >= 1_000)
    assert.equal(reply.headers['x-amz-retry-after'], String(ms))
    assert.equal(reply.headers['retry-after'], String(Math.ceil(ms / 1_000)))
    assert.equal(reply.headers['x-sluice-attempts'], '4')
  })
  assert.equal(bedrock.seen.length - sentBefore, 4)
  assert.deepEqual([line!.outcome, line!.status, line!.attempts, line!.throttles], ['answered', 429, 4, 4])
})

test('a throttle whose body is far too long does not leave a keep-alive client hanging for the rest of it', async () => {
  respond = response => throttle(response, Buffer.alloc(200_000, 0x61))
  const agent = new http.Agent({ keepAlive: true })
  let over = false
  const headers = { 'x-sluice-max-wait-ms': '100' }
  const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent, headers }, response => {
    assert.equal(response.statusCode, 429)
    response.resume().on('close', () => {
      over = true
    })
    response.on('error', () => {})
  })
  request.on('error', () => {})
  request.end(HELLO)
  try {
    await until(() => over, 'the answer ends, whole or cut', 2_000)
  } finally {
    agent.destroy()
  }
})

test('a throttled call whose deadline passes hears the throttle at once, after one send', async () => {
  respond = response => throttle(response)
  const [line] = await settledAfter(sluice, 1, async () => {
    const reply = await call('HTTP/1.1', sluice.url, { headers: { 'x-sluice-max-wait-ms': '100' } })
    assert.deepEqual([reply.status, reply.body.toString()], [429, THROTTLED])
    assert.ok(reply.headers['retry-after-ms'])
  })
  assert.equal(line!.attempts, 1)
})

test('a client that leaves while its throttled call waits frees its place, and nothing more is sent', async () => {
  respond = response => throttle(response)
  const sentBefore = bedrock.seen.length
  const [line] = await settledAfter(sluice, 1, async () => {
    const req = http.request(sluice.url, { method: 'POST', path: '/model/any.m/converse', agent: false })
    req.on('error', () => {})
    req.end('{"messages":[]}')
    await until(async () => (await statusOf(sluice)).models[0]!.waiting === 1, 'it waits')
    req.destroy()
    await until(async () => (await statusOf(sluice)).models[0]!.waiting === 0, 'its place is free', 400)
  })
  assert.equal(bedrock.seen.length - sentBefore, 1)
  assert.equal(line!.outcome, 'aborted')
})
