// The Redis user of docs/security.md can do what Sluice does: the line there is the one that runs here.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRedis } from '../support/redisServer.ts'
import { startTestSluice } from '../support/sluice.ts'
import { callHttp1, until, useTestCredentials } from '../support/wire.ts'

const LINE = /^ *user (sluice on >(\S+) .*)$/m
const SCRIPTS = new URL('../../src/redis/', import.meta.url)
/** In the scripts' quotes and capitals, but no commands. */
const WORDS = ['BYSCORE', 'LIMIT', 'WITHSCORES']

function documented(): RegExpExecArray {
  const found = LINE.exec(readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8'))
  assert.ok(found, 'docs/security.md has the line of an ACL file')
  return found
}

test('every command in the scripts is in the line', () => {
  const [line] = documented()
  const files = readdirSync(SCRIPTS, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.lua'))
  const text = files.map(name => readFileSync(new URL(name, SCRIPTS), 'utf8')).join('\n')
  const commands = new Set([...text.matchAll(/'([A-Z]{3,})'/g)].map(match => match[1]!))
  assert.ok(commands.size > 20, `${commands.size} commands`)
  const missing = [...commands].filter(
    name => !WORDS.includes(name) && !`${line} `.includes(` +${name.toLowerCase()} `),
  )
  assert.deepEqual(missing, [])
})

test('every command of two gateways that wait, share, keep and limit is allowed to the documented user', async t => {
  useTestCredentials()
  const found = documented()
  const redis = await startRedis(['--user', ...found[1]!.split(' ')])
  t.after(() => redis.stop())
  let isDown = false
  const bedrock = await startFakeBedrock((_request, response) => {
    setTimeout(() => response.writeHead(isDown ? 500 : 200, { 'content-type': 'application/json' }).end('{}'), 300)
  })
  t.after(() => bedrock.close())
  const pool = `pools: [{ name: p, region: us-east-1, endpoint: "${bedrock.url}", requestsPerMinute: 600, tokensPerMinute: 60000 }]`
  const yaml = `
models: [{ name: any, modelIds: ["*"], maxOutputTokens: 100, coalesce: client, fallback: [stale], ${pool} }]
clients: [{ name: open, limits: { requestsPerMinute: 600, tokensPerMinute: 600000, concurrent: 500 } }]
retries: { maxAttempts: 1 }
ingress: { requestsPerMinute: 100000 }
redis: { url: "${redis.url.replace('//', `//sluice:${found[2]}@`)}" }`
  const sluices = [await startTestSluice(yaml), await startTestSluice(yaml)]
  t.after(() => Promise.all(sluices.map(sluice => sluice.stop(0))))
  const health = async (url: string) =>
    (await (await fetch(`${url}/readyz`)).json()) as { status: string; parts: object }
  const client = new Redis(redis.url)
  t.after(() => client.disconnect())
  /** Whoever has been refused something, and what. */
  const denied = async () => JSON.stringify(await client.call('ACL', 'LOG'))
  for (const { url } of sluices)
    await until(async () => (await health(url)).status === 'ready' || (await denied()) !== '[]', 'Redis is in use')
  assert.equal(await denied(), '[]')
  const both = () => Promise.all(sluices.map(sluice => callHttp1(sluice.url)))
  const many = Array.from({ length: 60 }, (_one, i) =>
    callHttp1(sluices[i % 2]!.url, { path: `/model/m${i}/converse` }),
  )
  assert.ok((await both()).every(reply => reply.status === 200))
  isDown = true
  assert.ok((await both()).every(reply => reply.headers['x-sluice-fallback'] === 'stale'))
  const waited = await Promise.all(many)
  assert.ok(
    waited.some(reply => Number(reply.headers['x-sluice-wait-ms']) > 0),
    'some waited',
  )
  for (const { url } of sluices) assert.equal((await health(url)).status, 'ready', JSON.stringify(await health(url)))
  assert.equal(await denied(), '[]')
})
