// What whoever starts Sluice is told before the first call fails or costs money.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { AT_ONCE } from '../support/simulated.ts'
import { oneModel } from '../support/sluice.ts'
import { callHttp1, until } from '../support/wire.ts'

const NO_CREDENTIALS =
  /"pool":"only","trouble":"Sluice has no AWS credentials[^"]*","msg":"calls to this pool will fail"/
const OPEN = /"host":"0\.0\.0\.0","msg":"auth\.mode is open: whoever reaches this address spends the quota"/
const NONE = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', HOME: '/nonexistent' }

async function started(
  t: { after(task: () => void): void },
  yaml: string,
  environment: Record<string, string> = {},
): Promise<ChildSluice> {
  const child = await startChildSluice(yaml, environment)
  t.after(() => child.process.kill('SIGKILL'))
  return child
}

test('without AWS credentials it says so at its start, pool by pool', async t => {
  const child = await started(t, oneModel('http://127.0.0.1:1'), NONE)
  await until(() => NO_CREDENTIALS.test(child.output()), 'it says so')
  assert.doesNotMatch(child.output(), OPEN)
})

test('with the stand-ins of docker-compose.yml, which no simulator is there to take, it says so too', async t => {
  const compose = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8')
  const standIns = [...compose.matchAll(/- (AWS_\w+)=\$\{\1-(\w+)\}/g)].map(([, name, value]) => [name!, value!])
  assert.equal(standIns.length, 2)
  const yaml = oneModel('AWS').replace(', endpoint: "AWS"', '')
  const child = await started(t, yaml, { ...NONE, ...Object.fromEntries(standIns) })
  await until(() => NO_CREDENTIALS.test(child.output()), 'it says so')
})

test('open to other machines without asking for keys: it says so', async t => {
  const child = await started(t, oneModel('simulator', '', AT_ONCE), { HOST: '0.0.0.0' })
  await until(() => OPEN.test(child.output()), 'it says so')
})

test('as it comes, it has nothing to warn of', async t => {
  const child = await started(t, oneModel('simulator', '', AT_ONCE), NONE)
  assert.equal((await callHttp1(child.url)).status, 200)
  assert.doesNotMatch(child.output(), /"level":40/)
})

test('who comes with a path of OpenAI’s own is told where it is here', async t => {
  const child = await started(t, oneModel('simulator', '', AT_ONCE))
  const { status, body } = await callHttp1(child.url, { path: '/v1/chat/completions' })
  assert.equal(status, 404)
  assert.match(body.toString(), /under \/openai\/v1, of Anthropic under \/anthropic\/v1/)
})
