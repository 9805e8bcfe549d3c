// Who uses it, by client: every request is counted once, under a name or under `other`, and there are never more names than
// a Prometheus can bear.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finished, ModelStatus } from '../../src/gateway/ports.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { finishedRun, roomStatusOf } from '../support/fullScrape.ts'

const HOUR_MS = 3_600_000

function watched(status: () => ModelStatus[] = () => []) {
  const time = { nowMs: 0 }
  const metrics = new Metrics(
    async () => status(),
    () => 0,
    false,
    () => time.nowMs,
  )
  const run = (client: string, times = 1, part: Partial<Finished> = {}) => {
    for (let i = 0; i < times; i += 1)
      metrics.finished(finishedRun({ flow: { priority: 'normal', client, user: 'u' }, ...part }))
  }
  /** By client, the samples of a metric added up. */
  const scraped = async (name: string) => {
    const { text } = await metrics.scrape()
    const sums = new Map<string, number>()
    for (const [, labels, value] of text.matchAll(new RegExp(`^${name}\\{(.*)\\} (.*)$`, 'gm'))) {
      const client = /client="([^"]*)"/.exec(labels!)![1]!
      sums.set(client, (sums.get(client) ?? 0) + Number(value))
    }
    return sums
  }
  return { metrics, run, scraped, time }
}

const total = (sums: Map<string, number>) => [...sums.values()].reduce((sum, one) => sum + one, 0)

test('ten thousand clients have 50 names and `other`, and no request is lost or counted twice', async () => {
  const { run, scraped } = watched()
  for (let i = 0; i < 10_000; i += 1) run(`client-${i}`)
  const requests = await scraped('sluice_client_requests_total')
  assert.equal(requests.size, 51)
  assert.equal(requests.get('client-0'), 1)
  assert.equal(requests.get('other'), 9_950)
  assert.equal(total(requests), 10_000)
  assert.equal(total(await scraped('sluice_client_charged_tokens_total')), 50_000)
})

test('a client named `other` is one of the others', async () => {
  const { run, scraped } = watched()
  run('other', 3)
  for (let i = 0; i < 51; i += 1) run(`client-${i}`)
  const requests = await scraped('sluice_client_requests_total')
  assert.equal(requests.size, 51)
  assert.equal(requests.get('other'), 4)
})

test('names change once an hour, five at most, and only for who used clearly more', async () => {
  const { run, scraped, time } = watched()
  for (let i = 0; i < 50; i += 1) run(`early-${i}`, 10 + i)
  for (let i = 0; i < 10; i += 1) run(`late-${i}`, 1000 + i)
  run('little', 20)
  await scraped('sluice_client_requests_total')
  time.nowMs = HOUR_MS - 1
  await scraped('sluice_client_requests_total')
  run('late-9')
  assert.equal((await scraped('sluice_client_requests_total')).has('late-9'), false)
  time.nowMs = HOUR_MS
  await scraped('sluice_client_requests_total')
  for (let i = 0; i < 10; i += 1) run(`late-${i}`)
  const after = await scraped('sluice_client_requests_total')
  const late = [...after.keys()].filter(client => client.startsWith('late'))
  assert.deepEqual(late.toSorted(), ['late-5', 'late-6', 'late-7', 'late-8', 'late-9'])
  assert.equal(after.get('late-9'), 1, 'what it did before stays with the others, or their rate would jump')
  assert.equal(after.size, 51)
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].filter(i => after.has(`early-${i}`)),
    [5],
  )
})

test('who uses much gets a name at the next review, though hundreds who use little came before and go on coming', async () => {
  const { run, scraped, time } = watched()
  for (let i = 0; i < 50; i += 1) run(`early-${i}`, 10)
  for (let i = 0; i < 1000; i += 1) run(`small-${i}`)
  for (let i = 0; i < 1000; i += 1) {
    run(`small-${i}`)
    if (i % 10 === 0) run('heavy', 3)
  }
  await scraped('sluice_client_requests_total')
  time.nowMs = HOUR_MS
  await scraped('sluice_client_requests_total')
  run('heavy')
  assert.equal((await scraped('sluice_client_requests_total')).get('heavy'), 1)
})

test('nobody loses the name to one who used less than twice as much', async () => {
  const { run, scraped, time } = watched()
  for (let i = 0; i < 50; i += 1) run(`early-${i}`, 10)
  run('late', 19)
  await scraped('sluice_client_requests_total')
  time.nowMs = HOUR_MS
  await scraped('sluice_client_requests_total')
  run('late')
  assert.equal((await scraped('sluice_client_requests_total')).has('late'), false)
})

test('a client is charged for throttled and failed calls too, and a rescued request is no refusal', async () => {
  const { metrics, run, scraped } = watched()
  run('a', 1, { attempts: 3, throttledBy: ['p', 'q'], reservedTokens: 100, chargedTokens: 30, waitMs: 1500 })
  metrics.retried({ model: 'm', pool: 'p', client: 'a', reservedTokens: 100, chargedTokens: 7 })
  const refusal = { code: 'wait-timeout' as const, message: '' }
  run('a', 1, { outcome: 'rescued', refusal, attempts: 0, chargedTokens: 0 })
  run('b', 1, { outcome: 'refused', refusal, attempts: 0, chargedTokens: 0 })
  assert.deepEqual(
    await scraped('sluice_client_charged_tokens_total'),
    new Map([
      ['a', 237],
      ['b', 0],
    ]),
  )
  assert.deepEqual(await scraped('sluice_client_refusals_total'), new Map([['b', 1]]))
  assert.deepEqual(
    await scraped('sluice_client_wait_seconds_total'),
    new Map([
      ['a', 1.5],
      ['b', 0],
    ]),
  )
})

test('lines and shares are the ledger’s; whom it no longer tells of has zeros, whom it does not tell of waits with `other`', async () => {
  const one = { client: 'a', weight: 1, waiting: 4, share: 0.75, weightShare: 0.5 }
  const [status] = [roomStatusOf('m', [one])]
  const normal = status!.classes[1]!
  normal.waiting = 10
  const { scraped } = watched(() => [{ ...status!, classes: [normal] }])
  assert.deepEqual(
    await scraped('sluice_client_waiting'),
    new Map([
      ['a', 4],
      ['other', 6],
    ]),
  )
  assert.equal((await scraped('sluice_client_share')).get('a'), 0.75)
  normal.waiting = 0
  normal.clients = []
  assert.deepEqual(
    await scraped('sluice_client_waiting'),
    new Map([
      ['a', 0],
      ['other', 0],
    ]),
  )
  assert.equal((await scraped('sluice_client_weight_share')).get('a'), 0)
})
