// What crosses to Bedrock: the client's own words and bytes, but Sluice's name, never the client's.
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { BedrockRuntimeClient, InvokeModelCommand } from '@aws-sdk/client-bedrock-runtime'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'

/** Odd spacing, an integer beyond 2^53 and an escape: any parsing on the way would show. */
const BODY = Buffer.from(
  '{ "max_tokens":10,\n "id" : 12345678901234567890, "messages":[{"role":"user","content":"\\u00e9 é"}] }',
)
const CLIENT_CREDENTIALS = {
  accessKeyId: 'AKIDCLIENT',
  secretAccessKey: 'secret-of-the-client',
  sessionToken: 'session-of-the-client',
}
const SLUICE_CREDENTIALS = { AWS_ACCESS_KEY_ID: 'AKIDSLUICE', AWS_SECRET_ACCESS_KEY: 'secret-of-sluice' }

let bedrock: FakeBedrock
let sluice: TestSluice
let client: BedrockRuntimeClient

before(async () => {
  forgetAwsEnvironment()
  Object.assign(process.env, SLUICE_CREDENTIALS)
  bedrock = await startFakeBedrock((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'x-amzn-requestid': 'of-bedrock' })
    response.end('{"usage":{"input_tokens":3,"output_tokens":2}}')
  })
  sluice = await startTestSluice(oneModel(bedrock.url))
  client = new BedrockRuntimeClient({ region: 'us-east-1', endpoint: sluice.url, credentials: CLIENT_CREDENTIALS })
  client.middlewareStack.add(
    next => args => {
      Object.assign((args.request as { headers: Record<string, string> }).headers, {
        'x-sluice-user': 'ann',
        'x-sluice-priority': 'high',
        'x-sluice-max-wait-ms': '1000',
        'x-trace-of-the-app': 'abc',
      })
      return next(args)
    },
    { step: 'build' },
  )
})

after(async () => {
  client.destroy()
  await sluice.stop(0)
  await bedrock.close()
})

test("a client's signature and x-sluice-* headers stop at Sluice, its other headers and its exact bytes go on", async () => {
  const reply = await client.send(
    new InvokeModelCommand({ modelId: CLAUDE, body: BODY, contentType: 'application/json', trace: 'ENABLED' }),
  )
  assert.equal(reply.$metadata.requestId, 'of-bedrock')
  assert.equal(bedrock.seen.length, 1)
  const { method, url, headers, body } = bedrock.seen[0]!
  const value = (name: string) => header(headers, name)
  const names = headers.filter((_, i) => i % 2 === 0).map(name => name.toLowerCase())

  assert.equal(`${method} ${url}`, `POST /model/${CLAUDE.replace(':', '%3A')}/invoke`)
  assert.deepEqual(body, BODY)
  assert.match(
    value('authorization')!,
    /^AWS4-HMAC-SHA256 Credential=AKIDSLUICE\/\d{8}\/us-east-1\/bedrock\/aws4_request/,
  )
  assert.equal(value('x-amz-content-sha256'), hash('sha256', BODY, 'hex'))
  assert.equal(value('x-amz-security-token'), undefined)
  assert.equal(value('host'), new URL(bedrock.url).host)
  for (const name of ['authorization', 'host', 'x-amz-date', 'x-amz-content-sha256', 'content-length']) {
    assert.equal(names.filter(one => one === name).length, 1, `${name} once`)
  }
  assert.doesNotMatch(headers.join('\n'), /AKIDCLIENT|of-the-client/)
  assert.deepEqual(
    names.filter(name => name.startsWith('x-sluice-') || name.startsWith(':')),
    [],
  )
  assert.equal(value('x-trace-of-the-app'), 'abc')
  assert.equal(value('content-type'), 'application/json')
  assert.equal(value('x-amzn-bedrock-trace'), 'ENABLED')
  assert.match(value('amz-sdk-invocation-id')!, /^[\w-]{36}$/)
  assert.match(value('amz-sdk-request')!, /attempt=1/)
  assert.match(value('x-amz-user-agent')!, /aws-sdk-js/)

  const line = sluice.logged().find(one => one.msg === 'invocation')!
  assert.equal(line.user, 'ann')
  assert.equal(line.priority, 'high')
})
