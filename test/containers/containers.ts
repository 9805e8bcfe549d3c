// The house as its users start it: `docker compose up`, and everything through NGINX, on a real Docker engine. Not part of `npm test`:
// `npm run test:containers`. The tests are one story, in its order: one gateway as it comes, then three of them under load.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { assertRefusal, call, exchange, HELLO, PROTOCOLS, parseAnswer, until } from '../support/wire.ts'
import { Project } from './project.ts'
import { Traffic, wallMs } from './traffic.ts'

const MODEL = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const MESSAGES = [{ role: 'user' as const, content: [{ text: 'Hello' }] }]
const CONTAINED = ['nginx', 'gateway', 'redis', 'simulator']
const ALERTS = fileURLToPath(new URL('../../monitoring/alerts.yml', import.meta.url))
const POST_FAULTY = `POST /model/${MODEL}/converse X: a\x01b\r\n`
const FAULTY_BODY_BYTES = 20 * 1024 * 1024
const REACHED_WITHIN_MS = 30_000
const SUITE_WITHIN_MS = 120_000

/** Of Prometheus's API, what is read here. */
interface Told {
  data: { result?: { value: [number, string] }[]; groups?: object[] }
}

let project: Project
let failed = false

before(async () => {
  project = await Project.open()
  try {
    await project.compose('up', '-d', '--build')
    await until(answersAt(project.url), 'NGINX answers', REACHED_WITHIN_MS)
  } catch (error) {
    failed = true
    throw error
  }
})
afterEach(context => {
  failed ||= 'passed' in context && context.passed === false
})
after(async () => {
  if (failed) process.stderr.write(await project.compose('logs', '--no-color', '--tail', '100').catch(String))
  await project.down()
})

const answersAt = (url: string) => () =>
  call('HTTP/1.1', url, { method: 'GET', path: '/readyz' }).then(
    ({ status }) => status === 200,
    () => false,
  )

function sdk(maxAttempts = 3): BedrockRuntimeClient {
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' }
  return new BedrockRuntimeClient({ region: 'us-east-1', endpoint: project.url, credentials, maxAttempts })
}

function curl(...args: string[]): string {
  return execFileSync('curl', ['-sS', '--max-time', '30', ...args], { encoding: 'utf8' })
}

/** Changes the simulator while it runs. */
async function simulate(change: object): Promise<void> {
  const request = `{ method: 'POST', body: ${JSON.stringify(JSON.stringify(change))} }`
  const at = await project.container('simulator')
  await project.evaluate(at, `fetch('http://127.0.0.1:8081/_simulator', ${request}).then(reply => reply.text())`)
}

/** The gateways that NGINX has sent requests to. */
async function gatewaysUsed(since = 0): Promise<Set<string>> {
  const lines = (await project.logs(await project.container('nginx'))).split('\n').slice(since)
  return new Set(lines.flatMap(line => /"gateway":"([^",]+:8080)"/.exec(line)?.[1] ?? []))
}

async function nginxLines(): Promise<number> {
  return (await project.logs(await project.container('nginx'))).split('\n').length
}

/** The addresses that NGINX was last told of. */
async function gatewaysFollowed(): Promise<number> {
  const told = [...(await project.logs(await project.container('nginx'))).matchAll(/^gateways: (.*)$/gm)].at(-1)
  return told ? told[1]!.trim().split(' ').length : 0
}

describe('one gateway, as `docker compose up` starts it', { timeout: SUITE_WITHIN_MS }, () => {
  test('the AWS SDK for JavaScript, which speaks HTTP/2 alone, has its Converse answered', async () => {
    const reply = await sdk().send(new ConverseCommand({ modelId: MODEL, messages: MESSAGES }))
    assert.match(reply.output!.message!.content![0]!.text!, /\w+ \w+/)
    assert.ok(reply.usage!.outputTokens! > 0)
  })

  test('curl has its Converse, ConverseStream and OpenAI calls answered over HTTP/1.1 and over HTTP/2', () => {
    const openai = '{"model":"openai.gpt-oss-120b-1:0","messages":[{"role":"user","content":"Hello"}]}'
    for (const version of ['--http1.1', '--http2-prior-knowledge']) {
      const whole = curl(version, `${project.url}/model/${MODEL}/converse`, '-d', HELLO)
      assert.match(JSON.parse(whole).output.message.content[0].text, /\w+ \w+/)
      const stream = curl(version, `${project.url}/model/${MODEL}/converse-stream`, '-d', HELLO)
      assert.match(stream, /messageStart[\s\S]*contentBlockDelta[\s\S]*messageStop[\s\S]*"totalTokens"/)
      const said = curl(version, `${project.url}/openai/v1/chat/completions`, '-d', openai)
      assert.match(JSON.parse(said).choices[0].message.content, /\w+ \w+/)
    }
  })

  test('a stream leaves event by event: the first is here while the last is not yet made', {
    timeout: 20_000,
  }, async () => {
    // A second between tokens: the whole would take an hour.
    await simulate({ latency: { firstTokenMs: 1, perTokenMs: 1000, jitter: 0 }, answerTokens: 3600 })
    const leaving = new AbortController()
    const command = new ConverseStreamCommand({ modelId: MODEL, messages: MESSAGES })
    const { stream } = await sdk(1).send(command, { abortSignal: leaving.signal })
    let texts = 0
    for await (const event of stream!) {
      if (event.contentBlockDelta) texts += 1
      if (texts === 2) break
    }
    // Or NGINX would wait for the rest when it is stopped.
    leaving.abort()
    await simulate({ latency: { firstTokenMs: 100, perTokenMs: 8, jitter: 0.2 }, answerTokens: 60 })
    assert.equal(texts, 2)
  })

  test('/metrics and /status are there inside and closed outside, however they are written', async () => {
    const inside = `fetch('http://127.0.0.1:8080/metrics').then(reply => reply.text())`
    assert.match(await project.evaluate(await project.container('gateway'), inside), /^sluice_/m)
    const closed = { status: 404, exception: 'UnknownOperationException', code: 'nginx-closed' }
    for (const protocol of PROTOCOLS) {
      for (const path of ['/metrics', '/status', '/metrics?a=b', '/%6detrics', '/./status', '/model/../metrics']) {
        assertRefusal(await call(protocol, project.url, { method: 'GET', path }), closed)
      }
      const slashes = await call(protocol, project.url, { method: 'GET', path: '//metrics' })
      assert.equal(slashes.headers['x-sluice-refusal'], 'unknown-route')
    }
  })

  test('who names no user is known by the address that NGINX saw, whatever the request says of it', async () => {
    const headers = { 'x-forwarded-for': '8.8.8.8', 'x-real-ip': '8.8.8.8', forwarded: 'for=8.8.8.8' }
    const { status } = await call('HTTP/1.1', project.url, {
      path: `/model/${MODEL}/converse`,
      headers,
      body: HELLO,
    })
    assert.equal(status, 200)
    const lines = (await project.logs(await project.container('gateway')))
      .split('\n')
      .filter(line => line.startsWith('{'))
    const { user } = lines.map(line => JSON.parse(line)).findLast(line => line.msg === 'invocation')
    const nginx = JSON.parse(await project.docker('inspect', await project.container('nginx')))[0]
    const { Gateway, IPAddress } = nginx.NetworkSettings.Networks[Object.keys(nginx.NetworkSettings.Networks)[0]!]
    assert.notEqual(user, IPAddress)
    assert.equal(user, Gateway, 'where the host enters that network')
  })

  test('a body beyond 25 MB is refused by NGINX in the words of its route', async () => {
    const tooLarge = { status: 413, exception: 'ValidationException', code: 'nginx-body-too-large' }
    const body = Buffer.alloc(26 * 1024 * 1024)
    for (const protocol of PROTOCOLS) {
      const reply = await call(protocol, project.url, { path: '/openai/v1/responses', body })
      assertRefusal(reply, tooLarge)
      assert.equal(JSON.parse(reply.body.toString()).error.type, 'request_too_large')
    }
  })

  test('slow uploads of one address hold a part of the room for bodies, and small requests pass beside them', async () => {
    const path = '/openai/v1/responses'
    const headers = { 'content-length': '25000000' }
    const slow = Array.from({ length: 20 }, () =>
      http.request(project.url, { method: 'POST', path, headers, agent: false }),
    )
    for (const request of slow) request.on('error', () => {}).flushHeaders()
    const large = () => call('HTTP/1.1', project.url, { path, body: Buffer.alloc(1_000_000) })
    // Each question counts against the rate of the address, too.
    const isRefused = async () => {
      await pause(250)
      return (await large()).status === 429
    }
    await until(isRefused, 'one more is refused', REACHED_WITHIN_MS)
    const refusal = { status: 429, exception: 'ThrottlingException', code: 'nginx-large-bodies' }
    const chunked = { path, headers: { 'transfer-encoding': 'chunked' }, body: '{}' }
    const refused = [
      await large(),
      await call('HTTP/1.1', project.url, chunked),
      await call('HTTP/2', project.url, { path }),
    ]
    const small = await call('HTTP/1.1', project.url, { path, body: '{}' })
    for (const request of slow) request.destroy()
    for (const reply of refused) {
      assertRefusal(reply, refusal)
      assert.equal(reply.headers['retry-after'], '3')
    }
    assert.doesNotMatch(String(small.headers['x-sluice-refusal']), /^nginx/)
    await until(async () => !(await isRefused()), 'their places are free again', REACHED_WITHIN_MS)
  })

  test('a condition that a health check does not meet is refused in the shape of Bedrock', async () => {
    const headers = { 'if-unmodified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }
    const unmet = { status: 412, exception: 'ValidationException', code: 'nginx-malformed' }
    assertRefusal(await call('HTTP/1.1', project.url, { method: 'GET', path: '/healthz', headers }), unmet)
  })

  for (const service of CONTAINED) {
    test(`${service} is not root, holds no capability and cannot write to its image`, async () => {
      const container = await project.container(service)
      const [host] = JSON.parse(await project.docker('inspect', container)).map(
        (one: { HostConfig: object }) => one.HostConfig,
      )
      assert.equal(host.ReadonlyRootfs, true)
      assert.deepEqual(host.CapDrop, ['ALL'])
      assert.notEqual(await project.docker('exec', container, 'id', '-u'), '0')
      assert.match(await project.docker('exec', container, 'grep', 'CapEff', '/proc/1/status'), /0{16}$/)
      const { code, output } = await project.try('exec', container, 'sh', '-c', 'echo x >/etc/x')
      assert.notEqual(code, 0)
      assert.match(output, /Read-only file system|Permission denied/)
    })
  }

  test('nginx.conf is taken without a warning, and its log says each request in JSON, without its query', async () => {
    const container = await project.container('nginx')
    const { code, output } = await project.try('exec', container, 'nginx', '-t')
    assert.equal(code, 0, output)
    assert.doesNotMatch(output, /warn/)
    await call('HTTP/1.1', project.url, { path: '/nowhere?secret=1' })
    const lines = (await project.logs(container)).split('\n').filter(line => line.startsWith('{'))
    const logged = lines.map(line => JSON.parse(line))
    const { method, status, refusal, gatewayStatus } = logged.find(line => line.path === '/nowhere')
    assert.deepEqual([method, status, refusal, gatewayStatus], ['POST', 404, 'unknown-route', '404'])
    assert.doesNotMatch(lines.join(), /secret/)
  })

  test('an address beyond its rate is refused in the shape of Bedrock, and told when to come back', async () => {
    const ready = () => call('HTTP/1.1', project.url, { method: 'GET', path: '/readyz' })
    const beganMs = performance.now()
    const replies = await Promise.all(Array.from({ length: 200 }, ready))
    const most = 101 + ((performance.now() - beganMs) / 60_000) * 200 + 1
    const passed = replies.filter(({ status }) => status === 200).length
    assert.ok(passed <= most, `${passed} of 200 passed, at most ${most}`)
    const refusal = { status: 429, exception: 'ThrottlingException', code: 'nginx-address-rate' }
    const refused = replies.filter(({ status }) => status !== 200)
    for (const reply of refused) assertRefusal(reply, refusal)
    const { headers } = refused[0]!
    assert.deepEqual(
      [headers['retry-after'], headers['x-amz-retry-after'], headers['retry-after-ms']],
      ['3', '3000', '3000'],
    )
    // A request in 0.3 s would pass: others are there to take it.
    let asking = true
    const others = [0, 1, 2, 3].map(async () => {
      while (asking) await ready()
    })
    const throttled = sdk(1).send(new ConverseCommand({ modelId: MODEL, messages: MESSAGES }))
    const sdkOutcome = await throttled.catch(error => error.name)
    const openai = await call('HTTP/2', project.url, { path: '/openai/v1/responses' })
    asking = false
    await Promise.all(others)
    assert.equal(sdkOutcome, 'ThrottlingException')
    assert.equal(JSON.parse(openai.body.toString()).error.type, 'rate_limit_error')
  })
})

describe('three gateways, under load', { timeout: SUITE_WITHIN_MS }, () => {
  let traffic: Traffic
  before(async () => {
    await project.withoutAddressLimits()
    await until(answersAt(project.url), 'NGINX answers', REACHED_WITHIN_MS)
    traffic = new Traffic(project.url)
  })
  after(() => traffic.stop())

  test('`--scale gateway=3` spreads without a failed request, though NGINX is told while it serves', async () => {
    const beganMs = wallMs()
    await project.compose('up', '-d', '--no-deps', '--scale', 'gateway=3', '--no-recreate', 'gateway')
    await until(async () => (await gatewaysFollowed()) === 3, 'NGINX follows', REACHED_WITHIN_MS)
    const before = await nginxLines()
    await until(async () => (await gatewaysUsed(before)).size === 3, 'each gateway is used', REACHED_WITHIN_MS)
    assert.deepEqual(traffic.faultsSince(beganMs), [])
  })

  test('Prometheus scrapes every replica and has the alert rules', async () => {
    await project.compose('up', '-d', '--no-deps', 'prometheus')
    const get = async (path: string) => (await (await fetch(`${project.prometheusUrl}/api/v1/${path}`)).json()) as Told
    const up = async () => {
      const told = await get('query?query=up{job="sluice"}').catch(() => undefined)
      return told?.data.result?.filter(({ value }) => value[1] === '1').length === 3
    }
    await until(up, 'three replicas are up', 60_000)
    const { data } = await get('rules')
    assert.equal(data.groups!.length > 0, existsSync(ALERTS))
  })

  test('what NGINX passes on and no gateway can read is refused by the gateway, and shuts none out for others', async () => {
    const large = `X-Large: ${'a'.repeat(20_000)}\r\n`
    const faulty = [
      'GET /\xc3\xa9',
      'FOO /readyz',
      'GET /readyz X: a\x01b\r\n',
      `GET /readyz ${large}${large}`,
      POST_FAULTY,
    ]
    const beganMs = wallMs()
    for (const one of [...faulty, ...faulty]) {
      const [, line, headers] = /^(\S+ \S+) ?([\s\S]*)$/.exec(one)!
      const body = line!.startsWith('POST') ? Buffer.alloc(FAULTY_BODY_BYTES) : ''
      const head = `${line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${body.length}\r\n${headers}\r\n`
      const { status, headers: told } = parseAnswer(await exchange(project.url, [Buffer.from(head, 'latin1'), body]))
      assert.ok(status === 400 || status === 431, `${status} for ${one.slice(0, 40)}`)
      assert.equal(told['x-sluice-refusal'], 'malformed-request')
    }
    await until(() => traffic.countSince(beganMs) > 200, 'load goes on', REACHED_WITHIN_MS)
    assert.deepEqual(traffic.faultsSince(beganMs), [])
  })

  test('no request that begins after a gateway was killed is lost', async () => {
    const [victim] = await project.containers('gateway')
    await project.docker('kill', victim!)
    const killedMs = Date.parse(await project.docker('inspect', '-f', '{{.State.FinishedAt}}', victim!))
    await until(async () => (await gatewaysFollowed()) === 2, 'NGINX follows', REACHED_WITHIN_MS)
    const followedMs = wallMs()
    await until(() => traffic.countSince(followedMs) > 100, 'load goes on', REACHED_WITHIN_MS)
    assert.ok(traffic.countSince(killedMs) > 100)
    assert.deepEqual(traffic.faultsSince(killedMs), [])
  })

  test('a gateway that is stopped finishes its streams and exits 0, and no request is lost', async () => {
    const [one] = await project.containers('gateway')
    const signalledMs = wallMs()
    await project.docker('stop', '-t', '30', one!)
    assert.equal(await project.docker('inspect', '-f', '{{.State.ExitCode}}', one!), '0')
    const said = await project.logs(one!)
    assert.match(said, /"signal":"SIGTERM".*"msg":"stopping"/)
    assert.match(said, /"cut":0.*"msg":"stopped"/)
    await until(async () => (await gatewaysFollowed()) === 1, 'NGINX follows', REACHED_WITHIN_MS)
    await traffic.stop()
    assert.deepEqual(traffic.faultsSince(signalledMs), [])
  })

  test('requests signed with a virtual access key are verified behind NGINX, over HTTP/2 and HTTP/1.1', async () => {
    const secret = 'not+a/secret+at+all'
    const signing = `auth: { mode: keys }
clients: [{ name: web, sigv4: { accessKeyId: SLUICETESTTESTTEST00, secretFile: config/web.secret } }]
`
    const config = readFileSync(new URL('../../config/compose.yaml', import.meta.url), 'utf8')
    await project.withConfig({ 'compose.yaml': config + signing, 'web.secret': `${secret}\n` })
    await until(async () => (await gatewaysFollowed()) === 1, 'NGINX follows', REACHED_WITHIN_MS)
    await until(answersAt(project.url), 'it serves again', REACHED_WITHIN_MS)
    const ask = new ConverseCommand({ modelId: MODEL, messages: MESSAGES })
    for (const requestHandler of [undefined, new NodeHttpHandler()]) {
      const client = (secretAccessKey: string) =>
        new BedrockRuntimeClient({
          region: 'us-east-1',
          endpoint: project.url,
          credentials: { accessKeyId: 'SLUICETESTTESTTEST00', secretAccessKey },
          ...(requestHandler && { requestHandler }),
        })
      assert.equal((await client(secret).send(ask)).$metadata.httpStatusCode, 200)
      const forged = await client(`${secret}x`)
        .send(ask)
        .catch((error: Error) => error)
      assert.equal((forged as Error).name, 'InvalidSignatureException')
    }
  })

  test('without a gateway NGINX says so in the shape of Bedrock, and stops cleanly itself', async () => {
    await project.docker('kill', await project.container('gateway'))
    const gone = { status: 503, exception: 'ServiceUnavailableException', code: 'nginx-no-gateway' }
    for (const protocol of PROTOCOLS) {
      const reply = await call(protocol, project.url, { body: HELLO })
      assertRefusal(reply, gone)
      assert.equal(reply.headers['retry-after'], '1')
    }
    const nginx = await project.container('nginx')
    await project.docker('stop', '-t', '30', nginx)
    assert.equal(await project.docker('inspect', '-f', '{{.State.ExitCode}}', nginx), '0')
  })
})
