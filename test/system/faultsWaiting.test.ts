// Waiting for a turn on real sockets: order, deadlines, the hints of a refusal, and clients that leave.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import { after, before, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { settledAfter, statusOf } from '../support/settled.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { assertRefusal, CONVERSE, call, HELLO, PROTOCOLS, until, useTestCredentials } from '../support/wire.ts'

let bedrock: FakeBedrock

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{"usage":{"inputTokens":1,"outputTokens":1}}'))
})

after(() => bedrock.close())

/** The ledger starts empty: the first of `perMinute` requests a minute has its turn after its share of one. */
async function withQuota(perMinute: number, run: (sluice: TestSluice) => Promise<void>, rest = ''): Promise<void> {
  const sluice = await startTestSluice(oneModel(bedrock.url, `requestsPerMinute: ${perMinute}`, rest))
  try {
    await run(sluice)
  } finally {
    await sluice.stop(0)
  }
}

const waiting = async (sluice: TestSluice) => (await statusOf(sluice)).models[0]!.waiting

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a wait that is over its bound is a ThrottlingException with when to come back, said three ways`, async () => {
    await withQuota(1, async sluice => {
      const [line] = await settledAfter(sluice, 1, async () => {
        const reply = await call(protocol, sluice.url, { headers: { 'x-sluice-max-wait-ms': '50' } })
        const message = assertRefusal(reply, { status: 429, exception: 'ThrottlingException', code: 'wait-timeout' })
        assert.match(message, /^Too many requests, please wait before trying again\.$/)
        const ms = Number(reply.headers['retry-after-ms'])
        assert.ok(ms >= 1_000 && ms <= 300_000, String(ms))
        assert.equal(reply.headers['x-amz-retry-after'], String(ms))
        assert.equal(reply.headers['retry-after'], String(Math.ceil(ms / 1_000)))
      })
      assert.deepEqual([line!.outcome, line!.refusal, line!.attempts], ['refused', 'wait-timeout', 0])
      assert.equal(line!.chargedTokens ?? 0, 0, 'what was never sent is not charged')
    })
  })

  test(`${protocol}: a client that leaves while it waits frees its place at once`, async () => {
    await withQuota(1, async sluice => {
      const [line] = await settledAfter(sluice, 1, async () => {
        const leave = start(protocol, sluice.url)
        await until(async () => (await waiting(sluice)) === 1, 'it waits')
        leave()
        await until(async () => (await waiting(sluice)) === 0, 'its place is free', 500)
      })
      assert.deepEqual([line!.outcome, line!.attempts], ['aborted', 0])
    })
  })
}

/** Sends a request whose answer is not awaited; the returned function leaves. */
function start(protocol: 'HTTP/1.1' | 'HTTP/2', url: string, user = 'ann'): () => void {
  const headers = { 'x-sluice-user': user }
  if (protocol === 'HTTP/1.1') {
    const request = http.request(url, { method: 'POST', path: CONVERSE, headers, agent: false })
    request.on('error', () => {})
    request.end(HELLO)
    return () => request.destroy()
  }
  const session = http2.connect(url)
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': CONVERSE, ...headers })
  stream.on('error', () => {})
  stream.end(HELLO)
  return () => {
    stream.close(http2.constants.NGHTTP2_CANCEL)
    stream.on('close', () => session.destroy())
  }
}

test('those of one user who wait are served in the order they came, whatever their protocol', async () => {
  await withQuota(600, async sluice => {
    bedrock.seen.length = 0
    const replies: Promise<unknown>[] = []
    for (let i = 0; i < 12; i++) {
      const protocol = PROTOCOLS[i % 2]!
      replies.push(call(protocol, sluice.url, { path: `/model/m${i}/converse` }))
      // In line before the next one comes; the first may have gone already.
      await until(async () => (await waiting(sluice)) + bedrock.seen.length >= i + 1, `${i} is in line`)
    }
    await settledAfter(sluice, 12 - bedrock.seen.length, async () => {
      await Promise.all(replies)
    }).catch(() => Promise.all(replies))
    assert.deepEqual(
      bedrock.seen.map(one => one.url),
      Array.from({ length: 12 }, (_, i) => `/model/m${i}/converse`),
    )
  })
})

test('a full waiting room refuses the next one at once, and says when to come back', async () => {
  const rest = 'admission: { maxWaiting: 2 }'
  await withQuota(
    1,
    async sluice => {
      // Two users: the second of one user could not have its turn in time, and would not be let in to wait.
      const leave = [start('HTTP/1.1', sluice.url, 'ann'), start('HTTP/2', sluice.url, 'bob')]
      await until(async () => (await waiting(sluice)) === 2, 'both wait')
      const reply = await call('HTTP/1.1', sluice.url)
      assertRefusal(reply, { status: 429, exception: 'ThrottlingException', code: 'queue-full' })
      assert.ok(Number(reply.headers['retry-after-ms']) >= 60_000, 'two are before it, one a minute')
      for (const one of leave) one()
      await until(async () => (await waiting(sluice)) === 0, 'all have left')
    },
    rest,
  )
})

test('x-sluice-max-wait-ms cannot stretch the wait beyond the configured one', async () => {
  const rest = 'admission: { maxWaitMs: { normal: 50 } }'
  await withQuota(
    1,
    async sluice => {
      const reply = await call('HTTP/1.1', sluice.url, { headers: { 'x-sluice-max-wait-ms': '999999999' } })
      assert.equal(reply.headers['x-sluice-refusal'], 'wait-timeout')
    },
    rest,
  )
})

test('a wait of 0 takes what is free now, and nothing else', async () => {
  await withQuota(600, async sluice => {
    await until(async () => (await statusOf(sluice)).models[0]!.pools[0]!.requests!.level >= 1, 'a free turn')
    const headers = { 'x-sluice-max-wait-ms': '0' }
    const statuses = await Promise.all(Array.from({ length: 8 }, () => call('HTTP/1.1', sluice.url, { headers })))
    const counts = statuses.map(reply => reply.status)
    assert.ok(counts.includes(200) && counts.includes(429), counts.join())
  })
})

test('levels after many settled calls are back where the charges leave them: nothing leaks', async () => {
  const sluice = await startTestSluice(oneModel(bedrock.url, 'tokensPerMinute: 6000000'))
  await settledAfter(sluice, 50, async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => call(PROTOCOLS[i % 2]!, sluice.url)))
  })
  const { tokens } = (await statusOf(sluice)).models[0]!.pools[0]!
  await until(async () => (await statusOf(sluice)).models[0]!.pools[0]!.tokens!.level === tokens!.burst, 'full again')
  await sluice.stop(0)
})
