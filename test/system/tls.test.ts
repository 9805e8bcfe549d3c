// With server.tls one port speaks HTTP/2 and HTTP/1.1 by ALPN, and keeps every promise of the plain one.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http2 from 'node:http2'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import tls from 'node:tls'
import { fileURLToPath } from 'node:url'
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { NodeHttp2Handler } from '@smithy/node-http-handler'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { REFUSED_URL } from '../support/rawUpstream.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, callHttp2, exchange, HELLO, until, useTestCredentials } from '../support/wire.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
const certFile = join(folder, 'cert.pem')
const keyFile = join(folder, 'key.pem')
const made = spawnSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
  ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost'],
  ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:TRUE'],
])
const skip = made.status === 0 ? false : 'openssl is not there to make a certificate'

const ANSWER = {
  output: { message: { role: 'assistant', content: [{ text: 'hello' }] } },
  stopReason: 'end_turn',
  usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 },
}

describe('a port with TLS', { skip }, () => {
  let bedrock: FakeBedrock
  let ca: string
  const sluices: TestSluice[] = []

  before(async () => {
    useTestCredentials()
    ca = readFileSync(certFile, 'utf8')
    bedrock = await startFakeBedrock((request, response) => {
      if (request.url!.includes('slow')) return
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ANSWER))
    })
  })
  after(async () => {
    await bedrock.close()
    for (const sluice of sluices) await sluice.stop(0)
    rmSync(folder, { recursive: true })
  })

  async function start(limits = ''): Promise<TestSluice> {
    const server = `server: { tls: { certFile: "${certFile}", keyFile: "${keyFile}" }${limits && `, ${limits}`} }`
    const sluice = await startTestSluice(oneModel(bedrock.url, '', server))
    sluices.push(sluice)
    return sluice
  }

  function callHttps(url: string, path = CONVERSE): Promise<{ status: number; version: string; body: string }> {
    return new Promise((resolve, reject) => {
      const request = https.request(url, { method: 'POST', path, ca, agent: false }, response => {
        let body = ''
        response.on('data', chunk => {
          body += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode!, version: response.httpVersion, body }))
      })
      request.on('error', reject)
      request.end(HELLO)
    })
  }

  async function raw(url: string, text: string, withinMs: number): Promise<string> {
    const socket = tls.connect({ port: Number(new URL(url).port), host: '127.0.0.1', ca, ALPNProtocols: ['http/1.1'] })
    let said = ''
    let isClosed = false
    socket.on('data', chunk => {
      said += chunk
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      isClosed = true
    })
    socket.on('secureConnect', () => socket.write(text))
    await until(() => isClosed, 'it is hung up on', withinMs).finally(() => socket.destroy())
    return said
  }

  test('HTTP/1.1 and HTTP/2 are chosen by ALPN on the one port', async () => {
    const { url } = await start()
    assert.match(url, /^https:/)
    const [one, two] = await Promise.all([callHttps(url), callHttp2(url, {}, { ca })])
    assert.deepEqual([one.status, one.version, one.body], [200, '1.1', JSON.stringify(ANSWER)])
    assert.deepEqual([two.status, two.body.toString()], [200, JSON.stringify(ANSWER)])
  })

  test('the AWS SDK for JavaScript, which speaks nothing but HTTP/2, gets its answer', async () => {
    const { url } = await start()
    const handler = new NodeHttp2Handler({ nodeHttp2ConnectOptions: { ca } } as ConstructorParameters<
      typeof NodeHttp2Handler
    >[0])
    const credentials = { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'x' }
    const client = new BedrockRuntimeClient({
      region: 'us-east-1',
      endpoint: url.replace('127.0.0.1', 'localhost'),
      credentials,
      requestHandler: handler,
      maxAttempts: 1,
    })
    try {
      const reply = await client.send(
        new ConverseCommand({ modelId: 'any.m', messages: [{ role: 'user', content: [{ text: 'hello' }] }] }),
      )
      assert.deepEqual(reply.output?.message?.content, [{ text: 'hello' }])
    } finally {
      client.destroy()
    }
  })

  test('a client that offers no ALPN is served HTTP/1.1', async () => {
    const { url } = await start()
    const request = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${HELLO.length}\r\n\r\n${HELLO}`
    const socket = tls.connect({ port: Number(new URL(url).port), host: '127.0.0.1', ca })
    let said = ''
    socket.on('data', chunk => {
      said += chunk
    })
    socket.write(request)
    await until(() => said.includes('hello'), 'an answer')
    socket.destroy()
    assert.match(said, /^HTTP\/1\.1 200 /)
  })

  test('plain bytes on the TLS port do no harm', async () => {
    const { url } = await start()
    await exchange(url.replace('https', 'http'), ['GET / HTTP/1.1\r\n\r\n'], 2_000)
    assert.equal((await callHttps(url)).status, 200)
  })

  test('malformed HTTP/1.1 over TLS is answered with 400 and hung up on', async () => {
    const { url } = await start()
    assert.match(await raw(url, 'FROBNICATE / HTTP/1.1\r\n\r\n', 2_000), /^HTTP\/1\.1 400 .*"message"/s)
  })

  test('headers that never end are cut off within the configured timeout, with TLS as without', async () => {
    const { url } = await start('headersTimeoutMs: 200, requestTimeoutMs: 400')
    assert.match(await raw(url, `POST ${CONVERSE} HTTP/1.1\r\nX-Slow: `, 2_000), /^HTTP\/1\.1 408 /)
  })

  for (const protocol of ['HTTP/1.1', 'HTTP/2']) {
    test(`${protocol}: what is in flight when the grace is over is cut, with TLS as without`, async () => {
      const sluice = await start()
      const path = '/model/slow/converse'
      const sentBefore = bedrock.seen.length
      const reply = (
        protocol === 'HTTP/2' ? callHttp2(sluice.url, { path }, { ca }) : callHttps(sluice.url, path)
      ).then(
        () => 'answered',
        () => 'cut',
      )
      await until(() => bedrock.seen.length > sentBefore, 'in flight')
      const stopped = sluice.stop(100).then(cut => `stopped, cut ${cut}`)
      sluices.splice(sluices.indexOf(sluice), 1)
      const late = new Promise<string>(resolve => setTimeout(() => resolve('still running'), 3_000).unref())
      assert.equal(await Promise.race([stopped, late]), 'stopped, cut 1')
      assert.equal(await reply, 'cut')
    })
  }

  test('an idle keep-alive connection does not hold up the stop', async () => {
    const sluice = await start()
    const agent = new https.Agent({ keepAlive: true, ca })
    await new Promise<void>((resolve, reject) => {
      const request = https.request(sluice.url, { path: '/healthz', agent }, response => {
        response.resume().on('end', () => resolve())
      })
      request.on('error', reject)
      request.end()
    })
    const session = http2.connect(sluice.url, { ca })
    session.on('error', () => {})
    await new Promise(resolve => session.on('connect', resolve))
    const late = new Promise<string>(resolve => setTimeout(() => resolve('still running'), 2_000).unref())
    sluices.splice(sluices.indexOf(sluice), 1)
    assert.equal(await Promise.race([sluice.stop(10_000), late]), 0)
    agent.destroy()
    session.destroy()
  })

  test('the health check of the image is content with a port that speaks TLS, as with a plain one, and with no other', async () => {
    const dockerfile = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')
    const [node, ...args] = JSON.parse(/^HEALTHCHECK .*\\\n +CMD (\[.*\])$/m.exec(dockerfile)![1]!) as string[]
    assert.equal(node, 'node')
    const cwd = fileURLToPath(new URL('../../', import.meta.url))
    const codeOf = (port: string) =>
      new Promise(resolve => {
        const child = spawn(process.execPath, args, { cwd, env: { ...process.env, PORT: port } })
        child.on('exit', resolve)
      })
    const plain = await startTestSluice(oneModel(bedrock.url))
    sluices.push(plain)
    assert.equal(await codeOf(new URL(plain.url).port), 0)
    assert.equal(await codeOf(new URL((await start()).url).port), 0)
    assert.equal(await codeOf(new URL(REFUSED_URL).port), 1)
  })
})
