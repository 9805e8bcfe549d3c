import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type FarSideSettings, farSides } from '../../src/bedrock/farSide.ts'
import { StandInCredentials } from '../../src/bedrock/upstreamFault.ts'
import type { PoolSettings } from '../../src/domain/model.ts'
import { useTestCredentials } from '../support/wire.ts'

const REQUEST = { method: 'POST', host: 'h', rawPath: '/model/m/converse', rawQuery: '', body: Buffer.from('{}') }
let folder: string

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-aws-'))
})
after(() => rmSync(folder, { recursive: true }))
beforeEach(() => useTestCredentials())

function pool(rest: Partial<PoolSettings> = {}): PoolSettings {
  return { name: 'p', region: 'us-east-1', ...rest }
}

async function proof(one: PoolSettings, settings: FarSideSettings = {}): Promise<string> {
  const flat = await farSides(one, settings).runtime.authorize(REQUEST, 0)
  return flat.map((part, i) => (i % 2 === 0 ? `${part.toLowerCase()}: ` : `${part}\n`)).join('')
}

const ENDPOINTS: [string, string, string][] = [
  ['us-east-1', 'https://bedrock-runtime.us-east-1.amazonaws.com', 'https://bedrock.us-east-1.amazonaws.com'],
  [
    'ap-southeast-2',
    'https://bedrock-runtime.ap-southeast-2.amazonaws.com',
    'https://bedrock.ap-southeast-2.amazonaws.com',
  ],
  [
    'us-gov-west-1',
    'https://bedrock-runtime.us-gov-west-1.amazonaws.com',
    'https://bedrock.us-gov-west-1.amazonaws.com',
  ],
  ['cn-north-1', 'https://bedrock-runtime.cn-north-1.amazonaws.com.cn', 'https://bedrock.cn-north-1.amazonaws.com.cn'],
  ['us-iso-east-1', 'https://bedrock-runtime.us-iso-east-1.c2s.ic.gov', 'https://bedrock.us-iso-east-1.c2s.ic.gov'],
]
for (const [region, runtime, control] of ENDPOINTS) {
  test(`${region} is called at its own partition's endpoints, and its control plane at that of the same partition`, () => {
    assert.equal(farSides(pool({ region }), {}).runtime.origin, runtime)
    assert.equal(farSides(pool({ region }), {}).control.origin, control)
    assert.equal(farSides(pool({ region }), {}).runtime.basePath, '')
  })
}

test("AWS_ENDPOINT_URL is not followed: in an app's environment it points at Sluice itself", () => {
  process.env.AWS_ENDPOINT_URL = 'http://127.0.0.1:8080'
  process.env.AWS_ENDPOINT_URL_BEDROCK_RUNTIME = 'http://127.0.0.1:8080'
  assert.equal(farSides(pool(), {}).runtime.host, 'bedrock-runtime.us-east-1.amazonaws.com')
})

test("an endpoint's port and base path are kept, and its last slash is not doubled", () => {
  const side = farSides(pool({ endpoint: 'http://gateway.local:8443/aws/bedrock/' }), {}).runtime
  assert.deepEqual(
    [side.origin, side.host, side.basePath],
    ['http://gateway.local:8443', 'gateway.local:8443', '/aws/bedrock'],
  )
  const plain = farSides(pool({ endpoint: 'https://vpce.example.com:443/' }), {}).runtime
  assert.deepEqual([plain.origin, plain.host, plain.basePath], ['https://vpce.example.com', 'vpce.example.com', ''])
})

test("a request is signed for the pool's Region, with the host that it goes to", async () => {
  const text = await proof(pool({ region: 'eu-west-1', endpoint: 'http://127.0.0.1:1' }))
  assert.match(text, /Credential=AKIDSLUICE\/19700101\/eu-west-1\/bedrock\/aws4_request/)
  assert.match(text, /^host: h$/m)
})

test('a Bedrock API key wins over SigV4 and is all that is sent', async () => {
  const text = await proof(pool(), { bearerToken: 'ABSKtoken' })
  assert.equal(text, 'host: bedrock-runtime.us-east-1.amazonaws.com\nauthorization: Bearer ABSKtoken\n')
})

test('the simulator is shown neither the AWS credentials nor the API key', async () => {
  const settings = { simulatorUrl: 'http://127.0.0.1:1', bearerToken: 'ABSKtoken' }
  process.env.AWS_SESSION_TOKEN = 'session-of-sluice'
  const text = await proof(pool({ endpoint: 'simulator' }), settings)
  assert.match(text, /Credential=SIMULATOR\//)
  assert.doesNotMatch(text, /AKIDSLUICE|ABSKtoken|session-of-sluice|security-token/)
})

test("a pool with a profile of its own uses that account's keys, whatever else is in the environment", async () => {
  const file = join(folder, 'config')
  writeFileSync(file, '[profile other]\naws_access_key_id = AKIDOTHEROTHER00\naws_secret_access_key = other-secret\n')
  process.env.AWS_CONFIG_FILE = file
  const text = await proof(pool({ profile: 'other' }), { bearerToken: 'ABSKtoken' })
  assert.match(text, /Credential=AKIDOTHEROTHER00\//)
  assert.doesNotMatch(text, /ABSKtoken|AKIDSLUICE/)
})

test('a profile that does not exist fails the call, and never falls back to other credentials', async () => {
  await assert.rejects(proof(pool({ profile: 'nobody' })), { name: 'CredentialsProviderError' })
})

test('credentials that stand in for a simulator are never sent to AWS, and are good for any other endpoint', async () => {
  process.env.AWS_ACCESS_KEY_ID = 'simulator'
  await assert.rejects(proof(pool()), StandInCredentials)
  const vpc = 'https://vpce-0a1b-2c3d.bedrock-runtime.us-east-1.vpce.amazonaws.com'
  await assert.rejects(proof(pool({ endpoint: vpc })), StandInCredentials)
  await assert.rejects(proof(pool({ region: 'eusc-de-east-1' })), StandInCredentials)
  assert.match(await proof(pool({ endpoint: 'http://simulator:8081' })), /Credential=simulator\//)
  process.env.AWS_ACCESS_KEY_ID = 'AKIDOFSIXTEEN016'
  assert.match(await proof(pool()), /Credential=AKIDOFSIXTEEN016\//)
})

test('hosts of Bedrock, in every partition, do not lead back; any other endpoint may, load balancers on AWS too', () => {
  const leadsBack = (rest: Partial<PoolSettings>) => {
    const { runtime, control } = farSides(pool(rest), {})
    assert.equal(runtime.mayLeadBack, control.mayLeadBack)
    return runtime.mayLeadBack
  }
  for (const region of [
    'us-east-1',
    'us-gov-west-1',
    'cn-north-1',
    'eusc-de-east-1',
    'us-iso-east-1',
    'us-isob-east-1',
  ])
    assert.equal(leadsBack({ region }), false, region)
  for (const host of [
    'vpce-0a1b-2c3d.bedrock-runtime.us-east-1.vpce.amazonaws.com',
    'bedrock-runtime-fips.us-east-1.amazonaws.com',
    'bedrock-runtime.us-east-1.api.aws',
  ])
    assert.equal(leadsBack({ endpoint: `https://${host}` }), false, host)
  for (const host of [
    '127.0.0.1:8080',
    'nginx',
    'bedrock',
    'bedrock.internal.example.org',
    'my-alb-123.us-east-1.elb.amazonaws.com',
    'a1.execute-api.us-east-1.amazonaws.com',
  ])
    assert.equal(leadsBack({ endpoint: `http://${host}` }), true, host)
})
