// Signatures that only the body can prove (boto3's): until it has come they are anybody's who knows an access key id, and
// what they take of this gateway meanwhile leaves room for those who are known.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { keySha256, newSigningKey } from '../../src/identity/keys.ts'
import { authorization, canonicalRequest, stringToSign, type WireRequest } from '../support/sigv4.ts'
import { AT_ONCE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice, type TestSluice } from '../support/sluice.ts'
import { CONVERSE, callHttp1, HELLO, until } from '../support/wire.ts'

const BOTO = newSigningKey(randomBytes)
const KEY = `sluice_${'k'.repeat(43)}`
/** Of the client in whose name others ask. */
const OTHER_KEY = `sluice_${'o'.repeat(43)}`
/** With the 16 KB that each request counts ten of them are all that one client may hold, and eight in the lowest class. */
const BODY_BYTES = 64 * 1024
const ROOM_BYTES = 1024 * 1024

async function start(t: TestContext): Promise<TestSluice> {
  forgetAwsEnvironment()
  process.env.SECRET_OF_BOTO = BOTO.secret
  const sluice = await startTestSluice(
    oneModel(
      'simulator',
      '',
      `${AT_ONCE}
server: { maxBodyBytes: 786432 }
stages: { maxReceivingBytes: ${ROOM_BYTES} }
auth: { mode: keys }
clients:
  - { name: boto, sigv4: { accessKeyId: ${BOTO.accessKeyId}, secretEnv: SECRET_OF_BOTO }, keySha256: ${keySha256(OTHER_KEY)} }
  - { name: app, keySha256: ${keySha256(KEY)} }`,
    ),
  )
  delete process.env.SECRET_OF_BOTO
  t.after(() => sluice.stop(0))
  return sluice
}

/** As boto3 signs: no header says what the body's hash is. */
function headersOf(url: string, body: string, secret: string): [string, string][] {
  const timestamp = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = { timestamp, region: 'us-east-1', service: 'bedrock' }
  const headers: [string, string][] = [
    ['host', new URL(url).host],
    ['x-amz-date', timestamp],
  ]
  const request: WireRequest = { method: 'POST', target: CONVERSE, headers, body: Buffer.from(body) }
  const names = ['host', 'x-amz-date']
  const toSign = stringToSign(canonicalRequest(request, names), scope)
  const key = { accessKeyId: BOTO.accessKeyId, secretAccessKey: secret }
  return [...headers, ['authorization', authorization(toSign, names, scope, key)], ['x-sluice-priority', 'high']]
}

/** Begins requests of which no byte of the body comes, until one is refused. */
async function fill(t: TestContext, url: string, secret: string): Promise<number> {
  const { hostname, port } = new URL(url)
  const head = headersOf(url, '', secret).map(([name, value]) => `${name}: ${value}\r\n`)
  for (let begun = 0; begun < 20; begun++) {
    const socket = net.connect(Number(port), hostname)
    t.after(() => socket.destroy())
    let said = ''
    socket.on('error', () => {})
    socket.on('data', chunk => {
      said += chunk
    })
    socket.write(
      `POST ${CONVERSE} HTTP/1.1\r\n${head.join('')}expect: 100-continue\r\ncontent-length: ${BODY_BYTES}\r\n\r\n`,
    )
    await until(() => said !== '', 'it is invited or refused')
    if (!said.startsWith('HTTP/1.1 100 ')) {
      assert.match(said, /x-sluice-refusal: overloaded/)
      return begun
    }
  }
  throw new Error('nothing bounds them')
}

/** All that they leave, and more than a part of it. */
const fits = (key: string) => ({
  headers: { 'x-api-key': key, 'x-sluice-priority': 'high' },
  body: HELLO.padEnd(300 * 1024),
})

test('who knows no more than an access key id leaves room for those who are known, whatever class and in whose name it asks for', async t => {
  const { url } = await start(t)
  assert.equal(await fill(t, url, 'not the secret'), 8)
  for (const key of [KEY, OTHER_KEY]) assert.equal((await callHttp1(url, fits(key))).status, 200)
})

test('who was right before, from the same address, has room in the class it asks for', async t => {
  const { url } = await start(t)
  const headers = Object.fromEntries(headersOf(url, HELLO, BOTO.secret))
  assert.equal((await callHttp1(url, { headers, body: HELLO })).status, 200)
  assert.equal(await fill(t, url, BOTO.secret), 10)
})
