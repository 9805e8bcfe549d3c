// What every store of kept answers holds: in memory, and shared by two gateways over Redis, Valkey and a Redis Cluster.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { AnswerStore } from '../../src/gateway/answerPorts.ts'
import type { WholeReply } from '../../src/gateway/ports.ts'
import { type AnswerBounds, MemoryAnswers } from '../../src/memory/answers.ts'
import { RedisAnswers } from '../../src/redis/answers.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { newId, systemClock } from '../../src/system.ts'
import { findValkey } from '../support/redisBinary.ts'
import { startRedisCluster } from '../support/redisCluster.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, startValkey } from '../support/redisServer.ts'
import { seeded } from '../support/seeds.ts'
import { until } from '../support/wire.ts'

/** One that keeps, and one that is asked. */
type Open = (bounds: AnswerBounds) => [AnswerStore, AnswerStore]

const PLENTY: AnswerBounds = { maxAgeMs: 600_000, maxBytes: 100_000_000 }

describe('in memory', () =>
  answersContract(bounds => {
    const store = new MemoryAnswers(bounds, systemClock)
    return [store, store]
  }))
describe('Redis', () => shared(startRedis))
if (findValkey()) describe('Valkey', () => shared(startValkey))
else test('Valkey', { skip: 'no valkey-server on the PATH' }, () => {})
describe('Redis Cluster', () => shared(startRedisCluster))

function shared(start: () => Promise<{ url: string; stop(): Promise<void> } | undefined>): void {
  let server: Awaited<ReturnType<typeof start>>
  let links: RedisLink[] = []
  before(async () => {
    server = await start()
    const { url } = server!
    // So long that a busy machine does not look like an absent Redis.
    links = await Promise.all([upLink(url, { commandTimeoutMs: 5_000 }), upLink(url, { commandTimeoutMs: 5_000 })])
  })
  after(async () => {
    await Promise.all(links.map(link => link.close()))
    await server?.stop()
  })
  answersContract(bounds => [new RedisAnswers(links[0]!, bounds), new RedisAnswers(links[1]!, bounds)])
}

function replyOf(text: string, bytes = text.length): WholeReply {
  return { status: 200, headers: ['content-type', 'text/plain'], body: Buffer.alloc(bytes, text) }
}

function answersContract(open: Open): void {
  /** Tests share a server: none may see another's model. */
  const model = () => `model-${newId()}`

  test('what was kept comes back byte for byte, with its status and headers', async t => {
    const [one, other] = open(PLENTY)
    const name = model()
    const reply = fc.record({
      status: fc.integer({ min: 200, max: 599 }),
      headers: fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\xff', '"', '\\', ' ', '0') }), { maxLength: 6 }),
      body: fc.uint8Array({ maxLength: 3_000 }).map(bytes => Buffer.from(bytes)),
    })
    await fc.assert(
      fc.asyncProperty(fc.string(), reply, async (key, kept) => {
        await one.put(name, key, kept)
        const found = await other.get(name, key)
        assert.deepEqual(found?.reply, { ...kept })
        assert.ok(found!.ageMs >= 0 && found!.ageMs < 60_000)
      }),
      seeded(t, 100),
    )
  })

  test('the bytes are its own: the buffer they came in may be used again', async () => {
    const [one, other] = open(PLENTY)
    const name = model()
    const reply = replyOf('kept')
    await one.put(name, 'key', reply)
    reply.body.fill('x')
    assert.equal((await other.get(name, 'key'))?.reply.body.toString(), 'kept')
  })

  test('another key, and another model, have nothing', async () => {
    const [one, other] = open(PLENTY)
    const name = model()
    await one.put(name, 'key', replyOf('kept'))
    assert.equal(await other.get(name, 'kex'), undefined)
    assert.equal(await other.get(model(), 'key'), undefined)
  })

  test('the newer of two is the one that is kept', async () => {
    const [one, other] = open(PLENTY)
    const name = model()
    await one.put(name, 'key', replyOf('older'))
    await one.put(name, 'key', replyOf('newer'))
    assert.equal((await other.get(name, 'key'))?.reply.body.toString(), 'newer')
  })

  test('what is too old is gone', async () => {
    const [one, other] = open({ ...PLENTY, maxAgeMs: 400 })
    const name = model()
    await one.put(name, 'key', replyOf('kept'))
    assert.ok(await other.get(name, 'key'))
    await until(async () => (await other.get(name, 'key')) === undefined, 'the answer is too old')
  })

  test('the oldest go first, as few as need be', async () => {
    const [one, other] = open({ ...PLENTY, maxBytes: 30_000 })
    const name = model()
    const kept = async () => {
      const found: number[] = []
      for (let i = 0; i < 30; i++) if (await other.get(name, String(i))) found.push(i)
      return found
    }
    // With all that is counted beside them two of 9,000 bytes and more fit beside a third, and no fourth.
    for (const i of [0, 1, 2]) await one.put(name, String(i), replyOf('x', 9_000))
    assert.deepEqual(await kept(), [0, 1, 2])
    await one.put(name, '0', replyOf('again', 9_000))
    await one.put(name, '3', replyOf('x', 9_000))
    assert.deepEqual(await kept(), [0, 2, 3])
    await one.put(name, '4', replyOf('x', 25_000))
    assert.deepEqual(await kept(), [4])
  })

  test('an answer larger than all the room is not kept, and drives out nothing', async () => {
    const [one, other] = open({ ...PLENTY, maxBytes: 10_000 })
    const name = model()
    await one.put(name, 'small', replyOf('x', 1_000))
    await one.put(name, 'large', replyOf('x', 10_000))
    assert.ok(await other.get(name, 'small'))
    assert.equal(await other.get(name, 'large'), undefined)
  })
}
