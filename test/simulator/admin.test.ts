// The admin routes: what they show, what they change, and what they refuse.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerAdmin } from '../../src/simulator/admin.ts'
import { dig, drive, userSays } from './drive.ts'

const BODY = { messages: userSays('a') }

function admin(driven: ReturnType<typeof drive>, method: string, rawUrl: string, body = '') {
  return answerAdmin(driven.simulator, { method, rawUrl, headers: {}, body: Buffer.from(body) })
}

test('it shows settings and counts, and leaves other paths to Bedrock', async () => {
  const driven = drive()
  await driven.ask('/model/a.b/converse', BODY)
  const shown = admin(driven, 'GET', '/_simulator?x')
  assert.equal(dig(shown, 'body', 'settings', 'window'), 'token-bucket')
  assert.equal(dig(shown, 'body', 'counts', 'quotas', 0, 'accepted'), 1)
  assert.equal(admin(driven, 'POST', '/model/a.b/converse'), undefined)
  assert.equal(admin(driven, 'PUT', '/_simulator')?.status, 405)
})

test('a change applies at once and merges into what is set', async () => {
  const driven = drive()
  const change = {
    window: 'sliding',
    faults: { errorRate: 1 },
    latency: { firstTokenMs: 5 },
    answerTokens: 7,
    quotas: [{ modelIds: ['*'], requestsPerMinute: 0, outputBurndown: 5, maxOutputTokens: 10 }],
  }
  const reply = admin(driven, 'POST', '/_simulator', JSON.stringify(change))
  assert.equal(reply?.status, 200)
  assert.deepEqual(driven.simulator.settings.faults, {
    errorRate: 1,
    slowRate: 0,
    slowMs: 0,
    cutRate: 0,
    streamExceptionRate: 0,
    outage: false,
  })
  assert.deepEqual(driven.simulator.settings.latency, { firstTokenMs: 5, perTokenMs: 0, jitter: 0 })
  assert.equal((await driven.ask('/model/a.b/converse', BODY)).status, 429)
})

test('every fault of a change is told at once, with its place, and nothing is applied', () => {
  const driven = drive()
  const before = structuredClone(driven.simulator.settings)
  const change = {
    window: 'round',
    answerTokens: 50,
    faults: { errorRate: 2, outage: 'yes', colour: 1 },
    latency: 3,
    quotas: [{ modelIds: ['*', 4], outputBurndown: 1 }],
  }
  const reply = admin(driven, 'POST', '/_simulator', JSON.stringify(change))
  assert.equal(reply?.status, 400)
  const told = (dig(reply, 'body', 'faults') as unknown[]).map(
    fault => `${dig(fault, 'place')}: ${dig(fault, 'expected')}, not ${dig(fault, 'found')}`,
  )
  assert.deepEqual(told.sort(), [
    'faults.colour: one of errorRate, slowRate, slowMs, cutRate, streamExceptionRate, outage, not colour',
    'faults.errorRate: a number from 0 to 1, not 2',
    'faults.outage: true or false, not yes',
    'latency: an object, not 3',
    'quotas[0].maxOutputTokens: to be set, not nothing',
    'quotas[0].modelIds[1]: a text, not 4',
    'window: one of token-bucket, fixed, sliding, not round',
  ])
  assert.deepEqual(driven.simulator.settings, before)
})

test('a change that is no JSON, or no object, is refused', () => {
  for (const body of ['', '{', '[]', 'null', '3'])
    assert.equal(admin(drive(), 'POST', '/_simulator', body)?.status, 400)
})

test('counts start over on request, quotas do not', async () => {
  const driven = drive({ quotas: [{ modelIds: ['*'], requestsPerMinute: 1, outputBurndown: 1, maxOutputTokens: 10 }] })
  driven.send('/model/a.b/converse', BODY)
  assert.equal(admin(driven, 'DELETE', '/_simulator/counts')?.status, 200)
  assert.deepEqual(
    driven.simulator.counts().quotas.map(({ sends, tokensCharged }) => [sends, tokensCharged]),
    [[0, 0]],
  )
  assert.equal(driven.send('/model/a.b/converse', BODY).status, 429)
})
