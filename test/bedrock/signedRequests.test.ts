// What really travels to Bedrock must verify there: requests as a socket server received them, checked by a verifier that
// shares nothing with the signer.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { type BedrockUpstream, createUpstream } from '../../src/bedrock/upstream.ts'
import type { PoolSettings } from '../../src/domain/model.ts'
import type { Receiver, UpstreamRequest } from '../../src/gateway/ports.ts'
import { systemClock } from '../../src/system.ts'
import { encodeId, matchOperation } from '../../src/wire/operations.ts'
import { type FakeBedrock, type Seen, startFakeBedrock } from '../support/fakeBedrock.ts'
import { seeded } from '../support/seeds.ts'
import { verify } from '../support/sigv4.ts'
import { useTestCredentials } from '../support/wire.ts'

const KEY = { accessKeyId: 'AKIDSLUICE', secretAccessKey: 'secret-of-sluice' }
const TIMEOUTS = { connectTimeoutMs: 1_000, headersTimeoutMs: 5_000, idleTimeoutMs: 5_000, maxConnections: 4 }
const ARN = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123'

let bedrock: FakeBedrock
let upstream: BedrockUpstream

before(async () => {
  useTestCredentials()
  bedrock = await startFakeBedrock((_request, response) => response.end('{}'))
  upstream = createUpstream(TIMEOUTS, systemClock)
})

after(async () => {
  await upstream.close()
  await bedrock.close()
})

/** Sends on a pool of its own, so that credentials are looked up anew, and returns what arrived. */
async function send(method: string, rawUrl: string, body: Buffer, pool: Partial<PoolSettings> = {}): Promise<Seen> {
  const match = matchOperation(method, rawUrl)
  assert.equal(match.kind, 'found', rawUrl)
  if (match.kind !== 'found') throw new Error('unreachable')
  const { operation, id } = match.route
  const request: UpstreamRequest = {
    operation,
    rawUrl,
    headers: ['Content-Type', 'application/json', 'x-amz-user-agent', 'aws-sdk', 'X-Amz-Date', '20000101T000000Z'],
    body,
    ...(id !== undefined && { modelId: id }),
  }
  await new Promise<void>((resolve, reject) => {
    const receiver: Receiver = {
      head() {},
      data() {},
      end: () => resolve(),
      throttled: () => reject(new Error('throttled')),
      errored: ({ status }) => reject(new Error(`status ${status}`)),
      failed: refusal => reject(new Error(refusal.message)),
    }
    upstream.send({ name: 'p', region: 'eu-west-1', endpoint: bedrock.url, ...pool }, request, receiver)
  })
  return bedrock.seen.at(-1)!
}

function asWire({ method, url, headers, body }: Seen) {
  const pairs = headers.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, headers[i + 1]!]] : []))
  return { method, target: url, headers: pairs, body }
}

const paths = {
  'the id as the AWS SDKs write it, %3A': '/model/anthropic.claude-v2%3A1/converse',
  'the id as Anthropic writes it, with a bare colon': '/model/anthropic.claude-v2:1/invoke',
  'an ARN with %3A and %2F': `/model/${encodeId(ARN)}/converse-stream`,
  'an ARN with bare colons and %2F': `/model/${ARN.replace('/', '%2F')}/invoke-with-response-stream`,
  'an id with an escaped percent sign': '/model/a%2525b/converse',
}

for (const [what, rawUrl] of Object.entries(paths)) {
  test(`Bedrock accepts the signature of ${what}`, async () => {
    const seen = await send('POST', rawUrl, Buffer.from('{"a":1}'))
    assert.equal(seen.url, rawUrl)
    assert.equal(verify(asWire(seen), KEY), undefined)
  })
}

test('the verifier sees a changed body, path, query, host, date and key: it is no rubber stamp', async () => {
  const seen = asWire(await send('GET', '/inference-profiles?type=SYSTEM_DEFINED', Buffer.alloc(0)))
  assert.equal(verify(seen, KEY), undefined)
  const changed = (name: string, value: string) => ({
    ...seen,
    headers: seen.headers.map(([one, old]): [string, string] => [one, one.toLowerCase() === name ? value : old]),
  })
  assert.match(verify({ ...seen, body: Buffer.from('x') }, KEY)!, /not the body/)
  assert.match(verify({ ...seen, target: '/inference-profiles2?type=SYSTEM_DEFINED' }, KEY)!, /^expected/)
  assert.match(verify({ ...seen, target: '/inference-profiles?type=APPLICATION' }, KEY)!, /^expected/)
  assert.match(verify(changed('host', 'elsewhere'), KEY)!, /^expected/)
  assert.match(verify(changed('x-amz-date', '20000101T000000Z'), KEY)!, /date/)
  assert.match(verify(seen, { ...KEY, secretAccessKey: 'other' })!, /^expected/)
})

test('a session token travels with the request and is signed', async () => {
  process.env.AWS_SESSION_TOKEN = 'token/of+sluice=='
  try {
    const seen = await send('POST', paths['an ARN with %3A and %2F'], Buffer.from('{}'))
    const wire = asWire(seen)
    assert.equal(wire.headers.find(([name]) => name.toLowerCase() === 'x-amz-security-token')?.[1], 'token/of+sluice==')
    assert.match(wire.headers.find(([name]) => name === 'authorization')![1], /x-amz-security-token/)
    assert.equal(verify(wire, KEY), undefined)
  } finally {
    delete process.env.AWS_SESSION_TOKEN
  }
})

test('the base path of an endpoint is sent and signed', async () => {
  const seen = await send('POST', '/model/m%3A0/converse', Buffer.from('{}'), { endpoint: `${bedrock.url}/base/path/` })
  assert.equal(seen.url, '/base/path/model/m%3A0/converse')
  assert.equal(verify(asWire(seen), KEY), undefined)
})

test("the id that a pool puts in the request's place is signed as sent", async () => {
  const seen = await send('POST', '/model/m%3A0/converse', Buffer.from('{}'), { modelId: ARN })
  assert.equal(seen.url, `/model/${encodeId(ARN)}/converse`)
  assert.equal(verify(asWire(seen), KEY), undefined)
})

// Not __proto__ as a parameter, which @smithy/signature-v4 loses; no operation of Bedrock's has such a one.
const name = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }).filter(text => text !== '__proto__')
const value = fc.string({ maxLength: 12, unit: 'grapheme' })

test('whatever id, query and body are sent, Bedrock accepts the signature', async t => {
  await fc.assert(
    fc.asyncProperty(name, fc.uint8Array({ maxLength: 64 }), fc.boolean(), async (id, body, isArn) => {
      const rawId = isArn ? encodeId(`${ARN}/${id}`) : encodeId(id)
      fc.pre(id !== '.' && id !== '..')
      const seen = await send('POST', `/model/${rawId}/invoke`, Buffer.from(body))
      assert.equal(verify(asWire(seen), KEY), undefined)
    }),
    seeded(t, 100),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, value), { maxLength: 5 }), async pairs => {
      const query = pairs.map(([one, other]) => `${encodeId(one)}=${encodeId(other)}`).join('&')
      const seen = await send('GET', `/async-invoke?${query}`, Buffer.alloc(0))
      assert.equal(verify(asWire(seen), KEY), undefined)
    }),
    seeded(t, 100),
  )
})

for (const odd of ['constructor', 'toString']) {
  test(`a query parameter named ${odd} is signed like any other`, async () => {
    const seen = await send('GET', `/async-invoke?${odd}=1`, Buffer.alloc(0))
    assert.equal(verify(asWire(seen), KEY), undefined)
  })
}
