// Nothing a client says of itself reaches AWS, and nothing it says is signed: over both protocols, with SigV4 and with a
// Bedrock API key, what arrives is Sluice's own proof beside headers that prove nothing.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { call, PROTOCOLS, useTestCredentials } from '../support/wire.ts'

/** What AWS may see of a client, each for its reason: the format, the SDK, the model's own switches, a trace. */
const PASSING = [
  'accept',
  'content-type',
  'user-agent',
  'x-amz-user-agent',
  'amz-sdk-invocation-id',
  'amz-sdk-request',
].concat(['x-amzn-bedrock-trace', 'anthropic-beta', 'x-amzn-trace-id', 'x-custom'])
const STOPPED = ['authorization', 'x-api-key', 'api-key', 'cookie', 'forwarded', 'via']
  .concat([
    'x-amz-date',
    'x-amz-security-token',
    'x-amz-content-sha256',
    'x-amz-target',
    'x-amz-source-arn',
    'x-amz-new',
  ])
  .concat(['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-client-cert', 'x-real-ip'])
  .concat(['true-client-ip', 'x-client-ip', 'cf-connecting-ip', 'x-amzn-oidc-data', 'x-amzn-mtls-clientcert-leaf'])
  .concat(['proxy-authorization', 'proxy-authenticate', 'proxy-new', 'x-http-method-override', 'x-rewrite-url'])
  .concat(['x-sluice-user', 'x-sluice-new'])
const CANARY = 'the-clients-own'

let bedrock: FakeBedrock
const sluices: Record<string, TestSluice> = {}
before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{}'))
  sluices.SigV4 = await startTestSluice(oneModel(bedrock.url))
  sluices['a Bedrock API key'] = await startTestSluice(oneModel(bedrock.url), { bearerToken: 'sluices-bearer' })
})
after(async () => {
  await bedrock.close()
  for (const sluice of Object.values(sluices)) await sluice.stop(0)
})

for (const by of ['SigV4', 'a Bedrock API key'])
  for (const protocol of PROTOCOLS)
    test(`by ${by}, from ${protocol}: Bedrock sees Sluice's credentials and none of the client's`, async () => {
      bedrock.seen.length = 0
      const headers = Object.fromEntries([...PASSING, ...STOPPED].map(name => [name, `${CANARY}-${name}`]))
      const path = `/model/any.model/converse?a=1&X-Amz-Security-Token=${CANARY}&x-amz-signature=${CANARY}`
      const reply = await call(protocol, sluices[by]!.url, { path, headers })
      assert.equal(reply.status, 200, reply.body.toString())
      const { headers: flat, url } = bedrock.seen[0]!
      assert.equal(url, '/model/any.model/converse?a=1')
      const arrived = flat.filter((_one, i) => i % 2 === 0).map(name => name.toLowerCase())
      const clients = arrived.filter((_name, i) => flat[2 * i + 1]!.includes(CANARY))
      assert.deepEqual(clients.toSorted(), PASSING.toSorted())
      const own = arrived.filter(name => !clients.includes(name)).toSorted()
      const proof = by === 'SigV4' ? ['x-amz-content-sha256', 'x-amz-date'] : []
      // Sluice's own `via`: its endpoint here is not AWS's.
      assert.deepEqual(own, ['authorization', 'connection', 'content-length', 'host', 'via', ...proof].toSorted())
      const authorization = flat[2 * arrived.indexOf('authorization') + 1]!
      if (by !== 'SigV4') assert.equal(authorization, 'Bearer sluices-bearer')
      else
        assert.match(authorization, /Credential=AKIDSLUICE\/.*, SignedHeaders=host;x-amz-content-sha256;x-amz-date, /)
    })

test('a Connection header cannot take away what Sluice itself says', async () => {
  bedrock.seen.length = 0
  const named = 'authorization, host, x-amz-date, x-amz-content-sha256, content-length, keep-alive'
  const reply = await call('HTTP/1.1', sluices.SigV4!.url, { headers: { connection: named } })
  assert.equal(reply.status, 200)
  const arrived = bedrock.seen[0]!.headers.map(one => one.toLowerCase())
  for (const name of named.split(', ').slice(0, 5)) assert.ok(arrived.includes(name), name)
})
