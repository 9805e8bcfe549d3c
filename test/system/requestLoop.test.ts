// An endpoint that leads back to Sluice: a mistake in a config, or in what stands between two of them.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { type FakeBedrock, header, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, call, PROTOCOLS, useTestCredentials } from '../support/wire.ts'

useTestCredentials()

/** A proxy that knows nothing of loops, and passes on to whatever `url` says then. */
function startProxy(url: () => string): Promise<FakeBedrock> {
  return startFakeBedrock((request, response, body) => {
    const { method, headers } = request
    const onward = http.request(url() + request.url, { method: method!, headers, agent: false }, reply => {
      response.writeHead(reply.statusCode!, reply.rawHeaders)
      reply.pipe(response)
    })
    onward.end(body)
  })
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: a request that comes round is refused at its fifth arrival, and sent again by nobody`, async t => {
    let sluice: TestSluice
    const proxy = await startProxy(() => sluice.url)
    t.after(() => proxy.close())
    sluice = await startTestSluice(oneModel(proxy.url))
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
