// What a full stage and a late event loop say to clients on real sockets, and that nothing is held once they have left.
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { after, afterEach, before, test } from 'node:test'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ServiceUnavailableException,
} from '@aws-sdk/client-bedrock-runtime'
import { PRIORITIES } from '../../src/domain/model.ts'
import type { StageReading } from '../../src/gateway/stage.ts'
import { keySha256 } from '../../src/identity/keys.ts'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import {
  assertRefusal,
  CONVERSE,
  call,
  HELLO,
  PROTOCOLS,
  type Protocol,
  parseAnswer,
  until,
  useTestCredentials,
} from '../support/wire.ts'

const OVERLOADED = { status: 503, exception: 'ServiceUnavailableException', code: 'overloaded' }
const KB = 1024
/** Of requests held at once: one of 600 KB, and no second one. */
const SMALL_STAGES = 'server: { maxBodyBytes: 786432 }\nstages: { maxReceivingBytes: 1048576 }\n'

let bedrock: FakeBedrock
let held: (() => void)[] = []
const started: TestSluice[] = []

before(async () => {
  useTestCredentials()
  // Answers a body that says so only when it is let go.
  bedrock = await startFakeBedrock((_request, response, body) => {
    const answer = () =>
      response.end('{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn"}')
    if (body.includes('"hold"')) held.push(answer)
    else answer()
  })
})

after(() => bedrock.close())

afterEach(async () => {
  letGo()
  for (const sluice of started.splice(0)) await sluice.stop(0)
  bedrock.seen.length = 0
})

function letGo(): void {
  for (const answer of held) answer()
  held = []
}

async function start(rest: string): Promise<TestSluice> {
  const sluice = await startTestSluice(oneModel(bedrock.url, '', rest))
  started.push(sluice)
  return sluice
}

function bodyOf(bytes: number, mark = 'text'): string {
  const frame = JSON.stringify({ [mark]: '', messages: [] })
  return JSON.stringify({ [mark]: 'x'.repeat(bytes - frame.length), messages: [] })
}

async function stageOf(sluice: TestSluice, name: string): Promise<StageReading> {
  const reply = await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/status' })
  const { stages } = JSON.parse(reply.body.toString()) as { stages: StageReading[] }
  return stages.find(({ stage }) => stage === name)!
}

const heldBytes = async (sluice: TestSluice) => (await stageOf(sluice, 'receive')).depth

/** Fills `receive` with one request that waits for its answer. */
async function holdOne(sluice: TestSluice): Promise<{ waiting: Promise<{ status: number }> }> {
  const waiting = call('HTTP/1.1', sluice.url, { body: bodyOf(600 * KB, 'hold') })
  await until(() => held.length === 1, 'the upstream has it')
  return { waiting }
}

function assertHints(headers: Record<string, unknown>): number {
  const ms = Number(headers['retry-after-ms'])
  assert.ok(ms >= 100 && ms <= 30_000, `retry-after-ms: ${ms}`)
  assert.equal(headers['x-amz-retry-after'], headers['retry-after-ms'])
  assert.equal(headers['retry-after'], String(Math.ceil(ms / 1000)))
  return ms
}

/** The head alone, with a length declared and no byte of it sent; what came back. */
function sendHead(
  protocol: Protocol,
  url: string,
  bytes: number,
): Promise<{ status: number; body: string; headers: Record<string, string> }> {
  return new Promise((resolve, reject) => {
    if (protocol === 'HTTP/1.1') {
      const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
      let text = ''
      socket.on('error', reject)
      socket.on('data', chunk => {
        text += chunk
        if (!text.endsWith('}')) return
        socket.destroy()
        resolve(parseAnswer(text))
      })
      socket.write(`POST ${CONVERSE} HTTP/1.1\r\nhost: h\r\ncontent-length: ${bytes}\r\n\r\n`)
      return
    }
    const session = http2.connect(url)
    session.on('error', reject)
    const stream = session.request({ ':method': 'POST', ':path': CONVERSE, 'content-length': String(bytes) })
    let headers: Record<string, string> = {}
    let body = ''
    stream.on('response', got => {
      headers = got as Record<string, string>
    })
    stream.setEncoding('utf8').on('data', text => {
      body += text
    })
    stream.on('end', () => {
      session.destroy()
      resolve({ status: Number(headers[':status']), headers, body })
    })
  })
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a body that finds no room is refused before a byte of it is sent, and told when to come back`, async () => {
    const sluice = await start(SMALL_STAGES)
    const { waiting } = await holdOne(sluice)
    const { status, headers, body } = await sendHead(protocol, sluice.url, 600 * KB)
    assertRefusal({ status, headers, body: Buffer.from(body) }, OVERLOADED)
    assertHints(headers)
    assert.equal((await call(protocol, sluice.url)).status, 200, 'a small one still fits')
    letGo()
    assert.equal((await waiting).status, 200)
    await until(async () => (await heldBytes(sluice)) === 0, 'all room is free again')
    assert.equal((await call(protocol, sluice.url, { body: bodyOf(600 * KB) })).status, 200)
  })

  test(`${protocol}: one who waits to be invited is refused instead of invited`, async () => {
    const sluice = await start(SMALL_STAGES)
    const { waiting } = await holdOne(sluice)
    const invited = await expecting(protocol, sluice.url, bodyOf(600 * KB))
    assert.deepEqual(invited, { status: 503, invited: false })
    letGo()
    await waiting
    await until(async () => (await heldBytes(sluice)) === 0, 'all room is free again')
    assert.deepEqual(await expecting(protocol, sluice.url, bodyOf(600 * KB)), { status: 200, invited: true })
  })

  test(`${protocol}: a body without a length is refused where the room ends, and its connection goes on`, async () => {
    const sluice = await start(SMALL_STAGES)
    const { waiting } = await holdOne(sluice)
    const reply = await call(protocol, sluice.url, {
      body: bodyOf(500 * KB),
      headers: protocol === 'HTTP/1.1' ? { 'transfer-encoding': 'chunked' } : {},
    })
    assertRefusal(reply, OVERLOADED)
    letGo()
    await waiting
    await until(async () => (await heldBytes(sluice)) === 0, 'what had come of it is not held')
  })
}

for (const protocol of PROTOCOLS)
  test(`${protocol}: a declared body whose room others took meanwhile is refused in its middle, and its sender reads why`, async () => {
    const sluice = await start(SMALL_STAGES)
    const body = bodyOf(600 * KB)
    const upload = beginUpload(protocol, sluice.url, body.length)
    upload.write(body.slice(0, 100 * KB))
    await until(async () => (await heldBytes(sluice)) === 116 * KB, 'what has come is held, and no more')
    const { waiting } = await holdOne(sluice)
    upload.write(body.slice(100 * KB))
    assert.equal(await upload.status, 503)
    letGo()
    assert.equal((await waiting).status, 200)
    await until(async () => (await heldBytes(sluice)) === 0, 'nothing of it is held')
  })

/** A request with a length declared, whose body is written by hand. */
function beginUpload(
  protocol: Protocol,
  url: string,
  bytes: number,
): { write: (text: string) => void; status: Promise<number> } {
  const { promise: status, resolve, reject } = Promise.withResolvers<number>()
  const headers = { 'content-length': String(bytes) }
  if (protocol === 'HTTP/1.1') {
    const request = http.request(url, { method: 'POST', path: CONVERSE, headers, agent: false })
    request.on('error', reject)
    request.on('response', response => response.resume().on('end', () => resolve(response.statusCode!)))
    return { status, write: text => request.write(text) }
  }
  const session = http2.connect(url)
  session.on('error', reject)
  const stream = session.request({ ':method': 'POST', ':path': CONVERSE, ...headers })
  stream.on('error', reject)
  stream.on('response', got => {
    resolve(Number(got[':status']))
    stream.resume().on('end', () => session.destroy())
  })
  return { status, write: text => stream.write(text) }
}

/** What a client hears that sends its body only when it is told to. */
function expecting(protocol: Protocol, url: string, body: string): Promise<{ status: number; invited: boolean }> {
  const headers = { expect: '100-continue', 'content-length': String(body.length) }
  let invited = false
  return new Promise((resolve, reject) => {
    if (protocol === 'HTTP/1.1') {
      const request = http.request(url, { method: 'POST', path: CONVERSE, headers, agent: false })
      request.on('continue', () => {
        invited = true
        request.end(body)
      })
      request.on('error', reject)
      request.on('response', response => {
        response.resume().on('end', () => {
          request.destroy()
          resolve({ status: response.statusCode!, invited })
        })
      })
      request.flushHeaders()
      return
    }
    const session = http2.connect(url)
    session.on('error', reject)
    const stream = session.request({ ':method': 'POST', ':path': CONVERSE, ...headers })
    let status = 0
    stream.on('continue', () => {
      invited = true
      stream.end(body)
    })
    stream.on('response', got => {
      status = Number(got[':status'])
    })
    stream.resume().on('end', () => {
      session.destroy()
      resolve({ status, invited })
    })
  })
}

function sdkCall(sluice: TestSluice, text: string, headers: Record<string, string> = {}) {
  const client = new BedrockRuntimeClient({
    region: 'us-east-1',
    endpoint: sluice.url,
    credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'secret' },
    maxAttempts: 1,
  })
  client.middlewareStack.add(
    next => args => {
      Object.assign((args.request as { headers: Record<string, string> }).headers, headers)
      return next(args)
    },
    { step: 'build' },
  )
  const messages = [{ role: 'user' as const, content: [{ text }] }]
  return client
    .send(new ConverseCommand({ modelId: 'any.model', messages }))
    .then(
      () => undefined,
      (error: BedrockRuntimeServiceException) => error,
    )
    .finally(() => client.destroy())
}

function assertSdkRefusal(error: BedrockRuntimeServiceException | undefined): void {
  assert.ok(error instanceof ServiceUnavailableException, String(error))
  assert.equal(error.$metadata.httpStatusCode, 503)
  assertHints(error.$response!.headers)
  assert.match(error.message, /please wait before trying again/)
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a client that holds its part of the room leaves some to the others`, async () => {
    const keys = { web: `sluice_${'w'.repeat(43)}`, batch: `sluice_${'b'.repeat(43)}` }
    const clients = Object.entries(keys).map(([name, key]) => `{ name: ${name}, keySha256: ${keySha256(key)} }`)
    const sluice = await start(`${SMALL_STAGES}auth: { mode: keys }\nclients: [${clients.join(', ')}]`)
    const ask = (client: keyof typeof keys, body: string) =>
      call(protocol, sluice.url, { body, headers: { 'x-api-key': keys[client] } })
    const waiting = [1, 2].map(() => ask('web', bodyOf(330 * KB, 'hold')))
    await until(() => held.length === 2, 'they are held')
    const refused = await ask('web', bodyOf(60 * KB))
    assertRefusal(refused, OVERLOADED)
    assert.match(String(refused.body), /The client web holds as much as one may of this gateway \(receive\)/)
    assert.equal((await ask('batch', bodyOf(60 * KB))).status, 200)
    letGo()
    for (const reply of await Promise.all(waiting)) assert.equal(reply.status, 200)
    assert.equal((await ask('web', bodyOf(60 * KB))).status, 200)
  })
}

test('the AWS SDK hears a ServiceUnavailableException with hints: no room to receive', async () => {
  const sluice = await start(SMALL_STAGES)
  const { waiting } = await holdOne(sluice)
  assertSdkRefusal(await sdkCall(sluice, 'x'.repeat(600 * KB)))
  letGo()
  await waiting
})

test('the AWS SDK hears a ServiceUnavailableException with hints: no room among the large bodies', async () => {
  const sluice = await start('stages: { maxPricing: 1 }')
  const ends = await Promise.all(Array.from({ length: 6 }, () => sdkCall(sluice, 'x'.repeat(300 * KB))))
  const refused = ends.filter(end => end !== undefined)
  assert.ok(refused.length > 0 && refused.length < 6, `${refused.length} of 6 refused`)
  for (const error of refused) assertSdkRefusal(error)
})

/** Holds up the event loop, as too much work would, and waits until that has been noticed. */
async function beLate(ms: number): Promise<void> {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
  await new Promise(resolve => setTimeout(resolve, 60))
}

test('a late event loop sheds at the door, before a body is read, and lets the classes in again in their order', async () => {
  const sluice = await start('stages: { maxLoopDelayMs: 50 }')
  await call('HTTP/1.1', sluice.url)
  await beLate(1_000)
  for (const protocol of PROTOCOLS) {
    const { status, headers, body } = await sendHead(protocol, sluice.url, 100)
    assertRefusal({ status, headers, body: Buffer.from(body) }, OVERLOADED)
    assertHints(headers)
  }
  assertSdkRefusal(await sdkCall(sluice, 'hello', { 'x-sluice-priority': 'low' }))
  const ready = await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/readyz' })
  assert.equal(ready.status, 200)
  assert.match(ready.body.toString(), /"status":"degraded".*"eventLoop":"late: \d+ ms"/)
  assert.equal((await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/healthz' })).status, 200)
  const back: string[] = []
  await until(
    async () => {
      for (const priority of PRIORITIES.toReversed()) {
        const { status } = await call('HTTP/1.1', sluice.url, { headers: { 'x-sluice-priority': priority } })
        if (status === 200 && !back.includes(priority)) back.push(priority)
      }
      return back.length === 3
    },
    'all are let in again',
    15_000,
  )
  assert.deepEqual(back, PRIORITIES)
})

test('a small request sent after one of 24 MB has arrived is answered before that has been read', async () => {
  const sluice = await start('')
  await call('HTTP/1.1', sluice.url)
  bedrock.seen.length = 0
  const body = bodyOf(24 * KB * KB)
  const large = new Promise<number>((resolve, reject) => {
    const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, agent: false }, response =>
      response.resume().on('end', () => resolve(response.statusCode!)),
    )
    request.on('error', reject)
    request.end(body)
  })
  await until(async () => (await stageOf(sluice, 'price')).depth === 1, 'it is being read')
  assert.equal((await call('HTTP/1.1', sluice.url)).status, 200)
  assert.deepEqual(
    bedrock.seen.map(seen => seen.body.length),
    [HELLO.length],
    'the large one has not been sent yet',
  )
  assert.equal(await large, 200)
  assert.equal(bedrock.seen[1]!.body.toString(), body, 'byte for byte')
  assert.equal(header(bedrock.seen[1]!.headers, 'x-amz-content-sha256'), hash('sha256', body), 'signed as it was read')
})

test('after a thousand requests refused, cut off or answered, in any state, nothing is held', async t => {
  const sluice = await start(SMALL_STAGES)
  let seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.diagnostic(`seed ${seed}`)
  const draw = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const statuses = new Map<number, number>()
  const one = async () => {
    const bytes = 2 * KB + draw(400 * KB)
    const status = await (draw(2) === 0 ? roughHttp1 : roughHttp2)(
      sluice.url,
      bodyOf(bytes),
      draw(3) === 0,
      draw(3) === 0 ? draw(bytes) : undefined,
    )
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let i = 0; i < 50; i += 1) await one()
    }),
  )
  t.diagnostic(JSON.stringify([...statuses]))
  for (const status of [0, 200, 503])
    assert.ok(statuses.get(status)! > 20, `${statuses.get(status)} ended with ${status}`)
  await until(async () => (await heldBytes(sluice)) === 0, 'nothing is held')
  assert.equal((await stageOf(sluice, 'price')).depth, 0)
})

/** Sends a body, declared or not, to its end or up to `cutAt`, where it hangs up. 0: no answer came. */
function roughHttp1(url: string, body: string, declared: boolean, cutAt: number | undefined): Promise<number> {
  return new Promise(resolve => {
    const headers = declared ? { 'content-length': String(body.length) } : { 'transfer-encoding': 'chunked' }
    const request = http.request(url, { method: 'POST', path: CONVERSE, headers, agent: false })
    request.on('error', () => resolve(0))
    request.on('close', () => resolve(0))
    request.on('response', response => response.resume().on('close', () => resolve(response.statusCode!)))
    if (cutAt === undefined) request.end(body)
    else request.write(body.slice(0, cutAt), () => request.destroy())
  })
}

function roughHttp2(url: string, body: string, declared: boolean, cutAt: number | undefined): Promise<number> {
  return new Promise(resolve => {
    const session = http2.connect(url)
    let status = 0
    session.on('error', () => {})
    session.on('close', () => resolve(status))
    const headers = declared ? { 'content-length': String(body.length) } : {}
    const stream = session.request({ ':method': 'POST', ':path': CONVERSE, ...headers })
    stream.on('error', () => {})
    stream.on('response', got => {
      status = Number(got[':status'])
    })
    stream.resume().on('close', () => session.destroy())
    if (cutAt === undefined) stream.end(body)
    else stream.write(body.slice(0, cutAt), () => stream.close(http2.constants.NGHTTP2_CANCEL))
  })
}

test('/status, /readyz and /metrics show the stages', async () => {
  const sluice = await start(SMALL_STAGES)
  const get = async (path: string) => (await call('HTTP/1.1', sluice.url, { method: 'GET', path })).body.toString()
  assert.deepEqual(JSON.parse(await get('/readyz')), { status: 'ready', parts: { ledger: 'memory' } })
  const { waiting } = await holdOne(sluice)
  await call('HTTP/1.1', sluice.url, { body: bodyOf(600 * KB), headers: { 'x-sluice-priority': 'low' } })
  await call('HTTP/1.1', sluice.url)
  const { stages } = JSON.parse(await get('/status')) as { stages: StageReading[] }
  assert.deepEqual(stages, [
    { stage: 'receive', depth: 600 * KB + 16 * KB, limit: 1024 * KB },
    { stage: 'identify', depth: 0, limit: 1 },
    { stage: 'price', depth: 0, limit: 256 },
    { stage: 'admit', depth: 0, limit: 10_000 },
    { stage: 'send', depth: 1, limit: 1024 },
  ])
  assert.deepEqual(JSON.parse(await get('/readyz')).parts.stages, 'full: receive')
  const metrics = await get('/metrics')
  for (const line of [
    /^sluice_stage_depth{stage="receive"} 630784$/m,
    /^sluice_stage_limit{stage="receive"} 1048576$/m,
    /^sluice_stage_refusals_total{stage="receive",priority="low"} 1$/m,
    /^sluice_stage_refusals_total{stage="event-loop",priority="high"} 0$/m,
    /^sluice_stage_seconds_count{stage="receive"} 2$/m,
    /^sluice_stage_seconds_count{stage="identify"} 3$/m,
    /^sluice_stage_seconds_count{stage="price"} 2$/m,
    /^sluice_stage_seconds_count{stage="admit"} 1$/m,
    /^sluice_stage_seconds_count{stage="send"} 1$/m,
    /^sluice_event_loop_delay_seconds \d/m,
  ])
    assert.match(metrics, line)
  letGo()
  await waiting
})
