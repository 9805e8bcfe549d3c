// Every real Bedrock recording, replayed as the upstream: the client must get the same bytes, and the ledger the same usage.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { settledTokens } from '../../src/domain/charge.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { loadRecordings, RECORDINGS_MISSING, type Recording, usageShown } from '../wire/recordings.ts'

let bedrock: FakeBedrock
let sluice: TestSluice
let current: Recording

before(async () => {
  process.env.AWS_ACCESS_KEY_ID = 'AKIDTEST'
  process.env.AWS_SECRET_ACCESS_KEY = 'secret'
  bedrock = await startFakeBedrock((_request, response) => {
    const headers = current.headers.filter(([name]) => !/^(connection|transfer-encoding|content-length)$/i.test(name))
    response.writeHead(current.status, headers.flat())
    // In pieces that respect no frame: what travels is not what was written.
    const middle = Math.floor(current.body.length / 3)
    response.write(current.body.subarray(0, middle))
    setImmediate(() => response.end(current.body.subarray(middle)))
  })
  sluice = await startTestSluice(oneModel(bedrock.url))
})

after(async () => {
  await sluice.stop(0)
  await bedrock.close()
})

interface Reply {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
}

function post(path: string, body: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request(sluice.url + path, {
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json' },
    })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
    request.end(body)
  })
}

for (const recording of loadRecordings()) {
  test(`${recording.title}: the client gets the recorded bytes and the ledger the recorded usage`, async () => {
    current = recording
    const reply = await post(recording.path, recording.requestBody)
    assert.equal(reply.status, recording.status)
    assert.deepEqual(reply.body, recording.body)
    for (const [name, value] of recording.headers) {
      if (/^(connection|transfer-encoding|content-length)$/i.test(name)) continue
      assert.equal([reply.headers[name.toLowerCase()]].flat()[0], value, name)
    }
    assert.equal(bedrock.seen.at(-1)!.url, recording.path, 'the raw path is kept')
    assert.equal(bedrock.seen.at(-1)!.body.toString(), recording.requestBody)
    const line = sluice.logged().findLast(one => one.msg === 'invocation')!
    const told = (name: string) => recording.headers.find(([one]) => one.toLowerCase() === name)?.[1]
    assert.equal(line.bedrockRequestId, told('x-amzn-requestid'), 'a client finds its call by the id it was given')
    if (recording.status >= 400) {
      assert.equal(line.exception, told('x-amzn-errortype')?.split(':')[0])
      assert.equal(line.chargedTokens, 0)
      return
    }
    const shown = usageShown(recording)
    const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = line
    assert.deepEqual({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }, shown)
    assert.equal(line.chargedTokens, settledTokens(shown, 5))
  })
}

test('the recordings are there to be replayed', { skip: RECORDINGS_MISSING }, () => {
  assert.ok(loadRecordings().length >= 40)
})
