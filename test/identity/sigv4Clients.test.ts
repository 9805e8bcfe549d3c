// Real clients on real sockets, signing as they always did but with a virtual access key: HTTP/1.1, HTTP/2, and through a
// proxy that speaks another of them than its client.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import crypto from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import { syncBuiltinESMExports } from 'node:module'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { createAmazonBedrock } from '@ai-sdk/amazon-bedrock'
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeClientConfig,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  GetAsyncInvokeCommand,
  InvokeModelCommand,
  ListAsyncInvokesCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { generateText } from 'ai'
import { VIRTUAL_KEY } from '../support/signed.ts'
import { type SignedDoor, startSignedDoor } from '../support/signedDoor.ts'
import { forgetAwsEnvironment } from '../support/simulated.ts'
import { callHttp1, HELLO } from '../support/wire.ts'

const ARN = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123'
/** Above what is read on the event loop. */
const LARGE = 'x'.repeat(300 * 1024)

forgetAwsEnvironment()

let door: SignedDoor
before(async () => {
  door = await startSignedDoor()
})
after(() => door.close())
afterEach(() => {
  syncBuiltinESMExports()
  for (const list of [door.presented, door.invocations, door.refusals]) list.length = 0
})

function clientOf(endpoint: string, config: BedrockRuntimeClientConfig = {}): BedrockRuntimeClient {
  return new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint,
    credentials: VIRTUAL_KEY,
    maxAttempts: 1,
    ...config,
  })
}

const converse = (text = 'hello', modelId = 'any.model-v1:0') =>
  new ConverseCommand({ modelId, messages: [{ role: 'user', content: [{ text }] }] })

function assertLetIn(version: 'host' | ':authority', count: number): void {
  assert.deepEqual(door.refusals, [])
  assert.equal(door.invocations.length, count)
  for (const { flow } of door.invocations)
    assert.deepEqual([flow.client, flow.user], ['checkout', VIRTUAL_KEY.accessKeyId])
  for (const { headers } of door.presented)
    assert.match(headers.authorization!, new RegExp(`SignedHeaders=([^,]*;)?${version}[;,]`))
}

const PROTOCOLS = {
  'HTTP/2, its default': { config: () => ({}), signs: ':authority' },
  'HTTP/1.1': { config: () => ({ requestHandler: new NodeHttpHandler() }), signs: 'host' },
} as const

for (const [protocol, { config, signs }] of Object.entries(PROTOCOLS)) {
  describe(`the AWS SDK for JavaScript over ${protocol}`, () => {
    let client: BedrockRuntimeClient
    before(() => {
      client = clientOf(door.url, config())
    })
    after(() => client.destroy())

    test('every shape of path and query it sends is verified', async () => {
      await client.send(converse())
      await client.send(converse('hello', ARN))
      await client.send(
        new InvokeModelCommand({ modelId: ARN, body: HELLO, guardrailIdentifier: 'a b', guardrailVersion: '1' }),
      )
      await client.send(
        new ListAsyncInvokesCommand({ maxResults: 3, submitTimeAfter: new Date(0), nextToken: "a+b/c=='*ä" }),
      )
      await client.send(new GetAsyncInvokeCommand({ invocationArn: ARN }))
      assertLetIn(signs, 5)
    })

    test('a large body is verified by the hash of the thread that read it: none is reckoned on the event loop', async t => {
      // Noted at once: the bytes change threads afterwards, and are gone from here.
      const sizes: number[] = []
      const { hash } = crypto
      t.mock.method(crypto, 'hash', (algorithm: string, data: Buffer | string, encoding: 'hex') => {
        sizes.push(data.length)
        return hash(algorithm, data, encoding)
      })
      syncBuiltinESMExports()
      await client.send(converse(LARGE))
      await client.send(converse())
      assertLetIn(signs, 2)
      assert.ok(sizes.includes(door.invocations[1]!.request.body.length), 'a small one is')
      assert.ok(Math.max(...sizes) < LARGE.length, `${sizes}`)
    })

    test('a session token left over in its environment does no harm', async () => {
      const other = clientOf(door.url, { ...config(), credentials: { ...VIRTUAL_KEY, sessionToken: 'leftover' } })
      await other.send(converse())
      assertLetIn(signs, 1)
    })

    test('a wrong secret and an unknown key are the exceptions that its app knows from Bedrock', async () => {
      const wrong = clientOf(door.url, { ...config(), credentials: { ...VIRTUAL_KEY, secretAccessKey: 'guessed' } })
      await assert.rejects(wrong.send(converse()), (error: BedrockRuntimeServiceException) => {
        assert.equal(error.name, 'InvalidSignatureException')
        assert.equal(error.$metadata.httpStatusCode, 403)
        return true
      })
      const stranger = clientOf(door.url, { ...config(), credentials: { ...VIRTUAL_KEY, accessKeyId: 'AKIDSTRANGER' } })
      await assert.rejects(stranger.send(converse(LARGE)), { name: 'UnrecognizedClientException' })
      assert.equal(door.invocations.length, 0)
    })

    test('a clock that is wrong by more than five minutes is set right by the SDK itself, which then tries again', async () => {
      const late = clientOf(door.url, { ...config(), maxAttempts: 2, systemClockOffset: -10 * 60_000 })
      await late.send(converse())
      assert.equal(door.invocations.length, 1)
      assert.match(door.refusals[0]!.message, /^Signature expired: \d{8}T\d{6}Z is now earlier than /)
    })
  })
}

describe("other makers' clients", () => {
  test("Anthropic's SDK, with its bare colon in the path and its own headers signed", async () => {
    const client = new AnthropicBedrock({
      baseURL: door.url,
      awsRegion: 'us-east-1',
      awsAccessKey: VIRTUAL_KEY.accessKeyId,
      awsSecretKey: VIRTUAL_KEY.secretAccessKey,
      maxRetries: 0,
    })
    for (const content of ['hello', LARGE])
      await client.messages.create({
        model: 'anthropic.claude-v2:1',
        max_tokens: 5,
        messages: [{ role: 'user', content }],
      })
    assertLetIn('host', 2)
  })

  test('the Vercel AI SDK, which signs host and date alone and sends no hash of the body', async () => {
    const bedrock = createAmazonBedrock({
      region: 'us-east-1',
      baseURL: door.url,
      accessKeyId: VIRTUAL_KEY.accessKeyId,
      secretAccessKey: VIRTUAL_KEY.secretAccessKey,
    })
    for (const prompt of ['hello', LARGE])
      await generateText({ model: bedrock('any.model-v1:0'), prompt, maxRetries: 0 })
    assertLetIn('host', 2)
    assert.equal(door.presented[0]!.headers['x-amz-content-sha256'], undefined)
    const wrong = createAmazonBedrock({
      region: 'us-east-1',
      baseURL: door.url,
      accessKeyId: VIRTUAL_KEY.accessKeyId,
      secretAccessKey: 'guessed',
    })
    for (const [prompt, model] of [
      ['hello', 'any.model'],
      [LARGE, 'any.model'],
      ['hello', 'unknown'],
      [LARGE, 'unknown'],
    ] as const)
      await assert.rejects(generateText({ model: wrong(model), prompt, maxRetries: 0 }), { statusCode: 403 })
    assert.deepEqual(
      door.refusals.map(refusal => refusal.code),
      Array(4).fill('bad-signature'),
      'not even told that a model is unknown',
    )
    assert.equal(door.invocations.length, 2)
  })

  test('boto3, which sends no hash of the body', { skip: withoutBoto3() }, async () => {
    const said = await python(BOTO3)
    assert.equal(said, 'ok InvalidSignatureException UnrecognizedClientException')
    assert.equal(door.presented[0]!.headers['x-amz-content-sha256'], undefined)
    assert.equal(door.invocations.length, 4)
    assert.equal(door.refusals.length, 2)
  })
})

const BOTO3 = `
import boto3, datetime, os
from botocore.config import Config
from botocore.exceptions import ClientError
def client(key, secret):
  return boto3.client('bedrock-runtime', region_name='us-east-1', endpoint_url=os.environ['DOOR'], aws_access_key_id=key,
    aws_secret_access_key=secret, config=Config(retries={'total_max_attempts': 1}))
def converse(c, text):
  return c.converse(modelId='${ARN}', messages=[{'role': 'user', 'content': [{'text': text}]}])
def refused(c):
  try: converse(c, 'hello')
  except ClientError as e: return e.response['Error']['Code']
right = client('${VIRTUAL_KEY.accessKeyId}', '${VIRTUAL_KEY.secretAccessKey}')
converse(right, 'hello')
converse(right, 'x' * 300 * 1024)
right.invoke_model(modelId='any.model-v1:0', body='${HELLO}')
right.list_async_invokes(maxResults=3, submitTimeAfter=datetime.datetime.now(), nextToken="a+b/c=='*é")
print('ok', refused(client('${VIRTUAL_KEY.accessKeyId}', 'guessed')), refused(client('AKIDSTRANGER', 'x')), end='')
`

function withoutBoto3(): string | false {
  return spawnSync('python3', ['-c', 'import boto3']).status === 0 ? false : 'python3 has no boto3'
}

function python(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('python3', ['-c', script], { env: { ...process.env, DOOR: door.url } })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', chunk => {
        said += chunk
      })
    child.on('error', reject)
    child.on('close', () => resolve(said))
  })
}

/** Its address, and what it does to a body on the way. */
interface Proxy {
  url: string
  change: (body: Buffer) => Buffer
  close(): void
}

describe('through a proxy', () => {
  let proxy: Proxy
  afterEach(() => proxy.close())

  test('that takes HTTP/2 and speaks HTTP/1.1, as NGINX does: :authority, which was signed, comes as host', async () => {
    proxy = await startProxy(http2.createServer(), forwardAsHttp1)
    const client = clientOf(proxy.url)
    await client.send(converse())
    await client.send(converse(LARGE))
    assertLetIn(':authority', 2)
    assert.equal(door.presented[0]!.headers.host, new URL(proxy.url).host)
    await assertTampering(client)
  })

  test('that takes HTTP/1.1 and speaks HTTP/2: host, which was signed, comes as :authority', async () => {
    proxy = await startProxy(http.createServer(), forwardAsHttp2)
    const client = clientOf(proxy.url, { requestHandler: new NodeHttpHandler() })
    await client.send(converse())
    await client.send(converse(LARGE))
    assertLetIn('host', 2)
    assert.equal(door.presented[0]!.headers[':authority'], new URL(proxy.url).host)
    await assertTampering(client)
  })

  async function assertTampering(client: BedrockRuntimeClient): Promise<void> {
    const before = door.invocations.length
    proxy.change = body => Buffer.from(body.toString().replace(/hello|xx/, found => found.toUpperCase()))
    for (const text of ['hello', LARGE])
      await assert.rejects(client.send(converse(text)), { name: 'InvalidSignatureException' })
    assert.equal(door.invocations.length, before)
  }
})

type Forward = (
  method: string,
  path: string,
  host: string,
  headers: http.OutgoingHttpHeaders,
  body: Buffer,
) => Promise<[number, http.IncomingHttpHeaders, Buffer]>

async function startProxy(server: http.Server | http2.Http2Server, forward: Forward): Promise<Proxy> {
  const proxy: Proxy = { url: '', change: body => body, close: () => server.close() }
  server.on(
    'request',
    async (request: http.IncomingMessage | http2.Http2ServerRequest, response: http.ServerResponse) => {
      const body = Buffer.concat(await Array.fromAsync(request))
      const own = Object.entries(request.headers).filter(([name]) => !/^(:.*|host|connection)$/.test(name))
      const host = request.headers.host ?? String(request.headers[':authority'])
      const answer = await forward(request.method!, request.url!, host, Object.fromEntries(own), proxy.change(body))
      const [status, { connection: _, 'transfer-encoding': __, 'keep-alive': ___, ...headers }, text] = answer
      const named = Object.entries(headers).filter(([name]) => !name.startsWith(':'))
      response.writeHead(status, Object.fromEntries(named)).end(text)
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return proxy
}

const forwardAsHttp1: Forward = async (method, path, host, headers, body) => {
  const {
    status,
    headers: answered,
    body: text,
  } = await callHttp1(door.url, { method, path, headers: { ...headers, host } as Record<string, string>, body })
  return [status, answered, text]
}

const forwardAsHttp2: Forward = (method, path, host, headers, body) =>
  new Promise((resolve, reject) => {
    const session = http2.connect(door.url)
    const stream = session.request({ ...headers, ':method': method, ':path': path, ':authority': host })
    stream.on('error', reject)
    stream.on('response', async answered => {
      const text = Buffer.concat(await Array.fromAsync(stream))
      session.close()
      resolve([answered[':status']!, answered as http.IncomingHttpHeaders, text])
    })
    stream.end(body)
  })
