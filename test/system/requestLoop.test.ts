// An endpoint that leads back to Sluice: a mistake in a config, or in what stands between two of them.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, PROTOCOLS, useTestCredentials } from '../support/wire.ts'

useTestCredentials()

/** A proxy that knows nothing of loops, names itself first, and passes on to whatever `url` says then: fifty times at most. */
function startProxy(url: () => string): Promise<FakeBedrock> {
  let passed = 0
  return startFakeBedrock((request, response, body) => {
    passed += 1
    if (passed > 50) {
      response.end()
      return
    }
    const headers = ['Via', '1.1 proxy', ...request.rawHeaders]
    const options = { method: request.method!, headers: headers as never, agent: false }
    const onward = http.request(url() + request.url, options, reply => {
      response.writeHead(reply.statusCode!, reply.rawHeaders)
      reply.pipe(response)
    })
    onward.end(body)
  })
}

for (const [protocol, coalesce] of [...PROTOCOLS.map(one => [one, 'off'] as const), ['HTTP/1.1', 'shared'] as const]) {
  test(`${protocol}: a request that comes round is refused at its fifth arrival, and sent again by nobody, coalesce ${coalesce}`, async t => {
    let sluice: TestSluice
    const proxy = await startProxy(() => sluice.url)
    t.after(() => proxy.close())
    sluice = await startTestSluice(
      oneModel(proxy.url).replace('outputBurndown', `coalesce: ${coalesce}\n    outputBurndown`),
    )
    t.after(() => sluice.stop(0))
    const reply = await call(protocol, sluice.url, { path: CONVERSE, headers: { via: '1.1 corporate, 1.0 fred' } })
    assert.equal(reply.status, 508)
    assert.match(String(reply.body), /has come through 4 Sluices: an endpoint .* leads back/)
    assert.deepEqual(
      proxy.seen.map(({ headers }) => header(headers, 'via')),
      [1, 2, 3, 4].map(times => new Array(times).fill('1.1 sluice').join(', ')),
    )
    const told = sluice.logged().map(({ msg, refusal }) => refusal ?? msg)
    assert.deepEqual(told.filter(one => one === 'request-loop' || one === 'invocation').sort(), [
      ...new Array(4).fill('invocation'),
      'request-loop',
    ])
  })
}

test('a client that claims a loop shuts no pool', async t => {
  const bedrock = await startFakeBedrock((_request, response) => response.end('{"answer":42}'))
  t.after(() => bedrock.close())
  const inner = await startTestSluice(oneModel(bedrock.url))
  t.after(() => inner.stop(0))
  const outer = await startTestSluice(oneModel(inner.url))
  t.after(() => outer.stop(0))
  const headers = { via: new Array(3).fill('1.1 sluice').join(', ') }
  for (let i = 0; i < 10; i += 1) assert.equal((await call('HTTP/1.1', outer.url, { headers })).status, 508)
  assert.equal((await call('HTTP/1.1', outer.url)).status, 200)
  assert.deepEqual(
    outer.logged().filter(({ msg }) => msg === 'breaker'),
    [],
  )
})

test('four Sluices, one behind the other, answer', async t => {
  const bedrock = await startFakeBedrock((_request, response) => response.end('{"answer":42}'))
  t.after(() => bedrock.close())
  let { url } = bedrock
  for (let i = 0; i < 4; i += 1) {
    const sluice = await startTestSluice(oneModel(url))
    t.after(() => sluice.stop(0))
    url = sluice.url
  }
  const reply = await call('HTTP/1.1', url, { path: CONVERSE })
  assert.deepEqual([reply.status, String(reply.body)], [200, '{"answer":42}'])
})
