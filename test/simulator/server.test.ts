// The simulator on real sockets at port 0: both HTTP versions, backpressure, cuts, and callers that leave.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { type RunningSimulator, startSimulator } from '../../src/simulator/server.ts'
import { NO_FAULTS, type SimulatorSettings } from '../../src/simulator/settings.ts'
import { systemClock } from '../../src/system.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { dig, frames, QUICK, userSays } from './drive.ts'

const STREAM = '/model/anthropic.claude-v2/converse-stream'
const BODY = { messages: userSays('Say this is a test'), inferenceConfig: { maxTokens: 100_000 } }

async function start(
  t: TestContext,
  settings: Partial<SimulatorSettings> = {},
  clock = systemClock,
): Promise<RunningSimulator> {
  const running = await startSimulator({ settings: { ...QUICK, ...settings }, clock, host: '127.0.0.1', port: 0 })
  t.after(() => running.close())
  return running
}

function post(running: RunningSimulator, path: string, body: unknown): Promise<Response> {
  return fetch(running.url + path, { method: 'POST', body: JSON.stringify(body) })
}

/** Waits, by turns of the event loop, for something another socket must bring about. */
async function until(met: () => boolean): Promise<void> {
  for (let i = 0; i < 100_000 && !met(); i++) await new Promise(resolve => setImmediate(resolve))
  assert.ok(met(), 'it never came about')
}

test('HTTP/1.1 answers carry the recorded headers and no others', async t => {
  const running = await start(t)
  const request = http.request(`${running.url}${STREAM}`, { method: 'POST' }).end(JSON.stringify(BODY))
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const names = response.rawHeaders.filter((_, i) => i % 2 === 0)
  assert.deepEqual(names, ['Date', 'Content-Type', 'x-amzn-RequestId', 'Connection', 'Transfer-Encoding'])
  response.resume()
})

test('HTTP/2 with prior knowledge is answered, without the headers it forbids', async t => {
  const running = await start(t)
  const session = http2.connect(running.url)
  const stream = session.request({ ':method': 'POST', ':path': STREAM })
  stream.end(JSON.stringify(BODY))
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  assert.equal(headers[':status'], 200)
  assert.equal(headers.connection ?? headers['transfer-encoding'], undefined)
  const received: Buffer[] = []
  for await (const chunk of stream) received.push(chunk)
  assert.equal(frames(Buffer.concat(received)).at(-1)?.headers[0]?.[1], 'metadata')
  session.close()
})

test('the admin answers on the same port and changes what follows', async t => {
  const running = await start(t)
  assert.equal((await post(running, '/_simulator', { faults: { errorRate: 7 } })).status, 400)
  assert.equal((await post(running, '/_simulator', { faults: { errorRate: 1 } })).status, 200)
  assert.ok((await post(running, STREAM, BODY)).status >= 500)
  const shown: unknown = await (await fetch(`${running.url}/_simulator`)).json()
  assert.equal(dig(shown, 'counts', 'quotas', 0, 'errors'), 1)
})

test('a body past 25 MB is refused while it is still coming', async t => {
  const running = await start(t)
  const response = await fetch(`${running.url}${STREAM}`, { method: 'POST', body: Buffer.alloc(26_000_000, ' ') })
  assert.equal(response.status, 400)
  assert.match(await response.text(), /25000000/)
})

test('a cut stream over HTTP/1.1 has begun and breaks off', async t => {
  const running = await start(t, { faults: { ...NO_FAULTS, cutRate: 1 } })
  const response = await post(running, STREAM, BODY)
  assert.equal(response.status, 200)
  let bytes = 0
  await assert.rejects(async () => {
    for await (const chunk of response.body!) bytes += chunk.length
  })
  assert.ok(bytes > 0)
})

test('a cut stream over HTTP/2 has begun, is reset, and leaves its connection to the others', async t => {
  const running = await start(t, { faults: { ...NO_FAULTS, cutRate: 1 } })
  const session = http2.connect(running.url)
  t.after(() => session.destroy())
  let bytes = 0
  for (let i = 0; i < 2; i++) {
    const stream = session.request({ ':method': 'POST', ':path': STREAM })
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    stream.end(JSON.stringify(BODY))
    const [error] = await once(stream, 'error').catch(thrown => [thrown])
    assert.match(String(error), /INTERNAL_ERROR/)
    assert.ok(bytes > 0)
  }
})

test('an outage destroys connections or answers 503', async t => {
  const running = await start(t, { faults: { ...NO_FAULTS, outage: true } })
  const outcomes = new Set<string>()
  for (let i = 0; i < 20; i++)
    outcomes.add(
      await post(running, STREAM, BODY).then(
        one => String(one.status),
        () => 'destroyed',
      ),
    )
  assert.deepEqual([...outcomes].sort(), ['503', 'destroyed'])
})

const LEAVE: Record<string, (running: RunningSimulator) => () => void> = {
  'HTTP/1.1': running => {
    const request = http.request(`${running.url}${STREAM}`, { method: 'POST' }).end(JSON.stringify(BODY))
    request.on('error', () => {})
    return () => request.destroy()
  },
  'HTTP/2': running => {
    const session = http2.connect(running.url)
    const stream = session.request({ ':method': 'POST', ':path': STREAM }).on('error', () => {})
    stream.end(JSON.stringify(BODY))
    return () => stream.close(http2.constants.NGHTTP2_CANCEL, () => session.close())
  },
}

for (const [version, begin] of Object.entries(LEAVE))
  test(`a caller that leaves over ${version} stops its call, which is settled`, async t => {
    const clock = new VirtualClock()
    const latency = { firstTokenMs: 0, perTokenMs: 100, jitter: 0 }
    const running = await start(t, { latency, answerTokens: 1000 }, clock)
    const leave = begin(running)
    await until(() => running.simulator.counts().requests === 1)
    await clock.advance(1000)
    leave()
    await until(() => running.simulator.counts().quotas[0]!.left === 1)
    const charged = running.simulator.counts().quotas[0]!.tokensCharged
    assert.ok(charged > 5 && charged < 30, `${charged} tokens in a second of ten a second`)
  })

test('a peer that does not read stops production, and starts it again', async t => {
  const running = await start(t, { answerTokens: 200_000 })
  const socket = net.connect(running.port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.pause()
  const body = JSON.stringify({ ...BODY, inferenceConfig: { maxTokens: 200_000 } })
  const head = `POST ${STREAM} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`
  socket.write(head + body)
  await until(() => running.simulator.counts().requests === 1)
  const settledTokens = () => running.simulator.counts().quotas[0]!.tokensCharged
  for (let i = 0; i < 20_000; i++) await new Promise(resolve => setImmediate(resolve))
  assert.equal(settledTokens(), 0, 'more than 8 MB do not fit into the socket, so the call cannot be over')
  socket.resume()
  await once(socket, 'close')
  assert.ok(settledTokens() > 100_000)
})

test('closing drops what is under way', async t => {
  const running = await start(t, { latency: { firstTokenMs: 0, perTokenMs: 1000, jitter: 0 } }, new VirtualClock())
  const pending = post(running, STREAM, BODY).then(
    () => 'answered',
    () => 'dropped',
  )
  await until(() => running.simulator.counts().requests === 1)
  await running.close()
  assert.equal(await pending, 'dropped')
})

test('a port that is taken is told', async t => {
  const running = await start(t)
  await assert.rejects(
    startSimulator({ settings: QUICK, clock: systemClock, host: '127.0.0.1', port: running.port }),
    /EADDRINUSE/,
  )
})
