// What Redis, being away, has not been told is bounded, shown, and told when it is back.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { StageReading } from '../../src/gateway/stage.ts'
import { Arrears } from '../../src/redis/arrears.ts'
import { startFakeBedrock } from '../support/fakeBedrock.ts'
import { startRedis } from '../support/redisServer.ts'
import { oneModel, startTestSluice } from '../support/sluice.ts'
import { callHttp1, until, useTestCredentials } from '../support/wire.ts'

const redis = await startRedis()
after(() => redis.stop())

test('of charges that cannot be told for long the newest ten thousand are kept', () => {
  const arrears = new Arrears()
  for (let i = 0; i < 250; i += 1)
    arrears.owe(Array.from({ length: 100 }, (_, j) => ({ ticketId: String(i * 100 + j), tokens: 1 })))
  assert.equal(arrears.owed, 10_000)
  const ids = arrears.takeCharges().map(charge => charge.ticketId)
  assert.deepEqual([ids[0], ids.at(-1), arrears.owed], ['15000', '24999', 0])
})

test('settlements of a Redis that is away are the depth of `settle`, and are told once it is back', async () => {
  useTestCredentials()
  const held: (() => void)[] = []
  const bedrock = await startFakeBedrock((_request, response) => held.push(() => response.end('{}')))
  const quotas = 'requestsPerMinute: 6000, tokensPerMinute: 6000000'
  const sluice = await startTestSluice(oneModel(bedrock.url, quotas, `redis: { url: "${redis.url}" }`))
  const get = async (path: string) => (await callHttp1(sluice.url, { method: 'GET', path })).body.toString()
  const settling = async () => {
    const { stages } = JSON.parse(await get('/status')) as { stages: StageReading[] }
    return stages.find(({ stage }) => stage === 'settle')
  }
  try {
    assert.deepEqual(await settling(), { stage: 'settle', depth: 0, limit: 10_000 })
    const calls = Array.from({ length: 7 }, () => callHttp1(sluice.url))
    await until(() => held.length === 7, 'all have been sent')
    redis.pause()
    await until(async () => (await get('/readyz')).includes('"degraded"'), 'its absence is noticed', 15_000)
    for (const answer of held) answer()
    for (const reply of await Promise.all(calls)) assert.equal(reply.status, 200)
    await until(async () => (await settling())?.depth === 7, 'all are owed')
    redis.resume()
    await until(async () => (await settling())?.depth === 0, 'all are told', 15_000)
  } finally {
    redis.resume()
    await sluice.stop(0)
    await bedrock.close()
  }
})
