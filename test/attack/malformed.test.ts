// Ten thousand malformed requests, half of them to a Sluice that asks for keys: the process lives, says nothing but 4xx or hangs
// up, keeps nothing of them, lets nobody in without a credential, and serves the next good call. SEED=… gives the same ones again.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime'
import { seeded } from '../support/seeds.ts'
import { call, PROTOCOLS, useTestCredentials } from '../support/wire.ts'
import { KEY } from './credentials.ts'
import { aftermath, fuzz, startTarget, type Target } from './fuzz.ts'

const REQUESTS = 5_000
/** The first ones fill buffers, caches and compiled code; what comes after may add this much. */
const WARM = 2_000
const GROWTH_BYTES = 160 * 2 ** 20

let target: Target
before(async () => {
  useTestCredentials()
  target = await startTarget()
})
after(() => target.stop())

for (const protocol of PROTOCOLS) {
  test(`${REQUESTS} malformed requests over ${protocol} are refused with 4xx or hung up on, and leave nothing behind`, async t => {
    const { seed } = seeded(t, REQUESTS)
    const warm = await fuzz(target, protocol, seed, 0, WARM)
    const warmBytes = target.residentBytes()
    const rest = await fuzz(target, protocol, seed, WARM, REQUESTS)
    t.diagnostic(`${JSON.stringify(warm.counts)} ${JSON.stringify(rest.counts)}`)
    assert.deepEqual([...warm.failures, ...rest.failures], [])
    assert.deepEqual(await aftermath(target), [])
    const grownBytes = target.residentBytes().map((bytes, i) => bytes - warmBytes[i]!)
    t.diagnostic(`grown by ${grownBytes}`)
    assert.ok(Math.max(...grownBytes) < GROWTH_BYTES, `${grownBytes} bytes more than after the first ${WARM}`)
    // A generator whose requests all fail at the first byte, or are all fine, would show nothing.
    const refused = Object.entries(rest.counts).filter(([status]) => status.startsWith('4'))
    assert.ok(refused.length >= 4 && refused.every(([, count]) => count < REQUESTS), 'many kinds of refusal')
    assert.ok(rest.counts[403]! > REQUESTS / 40, 'many are turned away for their credentials')
    assert.ok(rest.counts[200]! > 10 && rest.counts[200]! < REQUESTS / 4, 'few are fine')
    const client = new BedrockRuntimeClient({
      endpoint: target.open.url,
      region: 'us-east-1',
      credentials: { accessKeyId: 'AKIDCLIENT', secretAccessKey: 'client' },
      maxAttempts: 1,
    })
    const messages = [{ role: 'user' as const, content: [{ text: 'hello' }] }]
    const answer = await client.send(new ConverseCommand({ modelId: 'any.model', messages }))
    assert.equal(answer.output?.message?.content?.[0]?.text, 'hello')
    client.destroy()
    const known = await call(protocol, target.keys.url, { headers: { 'x-api-key': KEY } })
    assert.equal(known.status, 200)
  })
}
