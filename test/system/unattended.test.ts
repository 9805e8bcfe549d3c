// Calls that run on when their client has left: on real sockets, held back or not, beyond their room, and while Sluice stops.
import assert from 'node:assert/strict'
import http, { type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { after, before, type TestContext, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { callHttp1, HELLO, PROTOCOLS, type Protocol, until, useTestCredentials } from '../support/wire.ts'
import { encodeEvent } from '../wire/recordings.ts'

const BURNDOWN = 5
const HEAD = { 'content-type': 'application/vnd.amazon.eventstream' }
const USED = encodeEvent('metadata', { usage: { inputTokens: 7, outputTokens: 900, totalTokens: 907 } })
const CHARGED = 7 + BURNDOWN * 900
const DELTA = encodeEvent('contentBlockDelta', { delta: { text: 'x'.repeat(1024 * 1024) }, contentBlockIndex: 0 })
/** More than the buffers of both connections hold. */
const MUCH = Buffer.concat(new Array(32).fill(DELTA))
const STREAM = '/model/any.m/converse-stream'

let bedrock: FakeBedrock
/** Of the calls that have come, in order. */
let responses: ServerResponse[]

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => responses.push(response))
})
after(() => bedrock.close())

async function start(t: TestContext): Promise<TestSluice> {
  responses = []
  const sluice = await startTestSluice(oneModel(bedrock.url, '', 'upstream: { maxUnattended: 1 }'))
  t.after(() => sluice.stop(0))
  return sluice
}

/** A client that reads nothing. `leave` ends its request alone. */
function ask(protocol: Protocol, url: string): { leave(): void; close(): void } {
  if (protocol === 'HTTP/1.1') {
    const request = http.request(url + STREAM, { method: 'POST', agent: false })
    request.on('error', () => {})
    request.end(HELLO)
    return { leave: () => request.destroy(), close: () => {} }
  }
  const session = http2.connect(url)
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': STREAM })
  stream.on('error', () => {})
  stream.end(HELLO)
  return { leave: () => stream.close(http2.constants.NGHTTP2_CANCEL), close: () => session.destroy() }
}

const invocations = (sluice: TestSluice) => sluice.logged().filter(({ msg }) => msg === 'invocation')

for (const protocol of PROTOCOLS) {
  test(`${protocol}: an answer that its client held back flows on without it, and what it says it used is charged`, async t => {
    const sluice = await start(t)
    const client = ask(protocol, sluice.url)
    await until(() => responses.length === 1, 'the call has come')
    const response = responses[0]!
    response.writeHead(200, HEAD)
    const isDrained = new Promise<void>(resolve => response.write(MUCH, () => resolve()))
    await until(() => response.writableNeedDrain, 'it is held back')
    client.leave()
    await isDrained
    response.end(USED)
    await until(() => invocations(sluice).length === 1, 'it is over')
    const { outcome, status, inputTokens, outputTokens, chargedTokens } = invocations(sluice)[0]!
    assert.deepEqual([outcome, status, inputTokens, outputTokens], ['aborted', undefined, 7, 900])
    assert.equal(chargedTokens, CHARGED)
    client.close()
  })

  test(`${protocol}: beyond the room a call is broken off, and the one that runs on is waited for when Sluice stops`, async t => {
    const sluice = await start(t)
    const first = ask(protocol, sluice.url)
    await until(() => responses.length === 1, 'the first call has come')
    const second = ask(protocol, sluice.url)
    await until(() => responses.length === 2, 'the second call has come')
    let isBrokenOff = false
    responses[1]!.once('close', () => {
      isBrokenOff = true
    })
    first.leave()
    second.leave()
    // Whichever of them was seen to leave first has the room.
    let isFirstBrokenOff = false
    responses[0]!.once('close', () => {
      isFirstBrokenOff = !responses[0]!.writableFinished
    })
    await until(() => isBrokenOff !== isFirstBrokenOff, 'one of them is broken off')
    assert.equal(invocations(sluice).length, 1)
    first.close()
    second.close()
    let isStopped = false
    const stopping = sluice.stop(30_000).then(cut => {
      isStopped = true
      return cut
    })
    await until(async () => !(await isListening(sluice.url)), 'nobody is let in any more')
    assert.equal(isStopped, false)
    const ranOn = responses[isBrokenOff ? 0 : 1]!
    ranOn.writeHead(200, HEAD).end(USED)
    assert.equal(await stopping, 0)
    assert.deepEqual(
      invocations(sluice).map(line => [line.outcome, line.chargedTokens === CHARGED]),
      [
        ['aborted', false],
        ['aborted', true],
      ],
    )
  })
}

test('when the grace is over, what still runs on is given up, and does not count among the clients that were cut', async t => {
  const sluice = await start(t)
  const gone = ask('HTTP/1.1', sluice.url)
  await until(() => responses.length === 1, 'the call has come')
  gone.leave()
  // One more that leaves is broken off, so the first is known to have left.
  const another = ask('HTTP/1.1', sluice.url)
  await until(() => responses.length === 2, 'another call has come')
  another.leave()
  await until(() => responses.some(({ closed }) => closed), 'one is broken off')
  ask('HTTP/1.1', sluice.url)
  await until(() => responses.length === 3, 'one who stays')
  const { body } = await callHttp1(sluice.url, { method: 'GET', path: '/metrics' })
  assert.match(String(body), /^sluice_unattended 1$/m)
  assert.equal(await sluice.stop(50), 1)
  await until(() => responses.every(({ closed }) => closed), 'all are broken off')
  const lines = invocations(sluice)
  assert.deepEqual(
    lines.map(line => [line.outcome, line.chargedTokens === line.reservedTokens]),
    new Array(3).fill(['aborted', true]),
  )
})

function isListening(url: string): Promise<boolean> {
  return fetch(`${url}/healthz`).then(
    () => true,
    () => false,
  )
}
