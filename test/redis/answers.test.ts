// Answers kept in Redis: whatever goes wrong there is a miss, in bounded time, and their bytes have a bound.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { WholeReply } from '../../src/gateway/ports.ts'
import { RedisAnswers } from '../../src/redis/answers.ts'
import { answerIndexKeys, answerKey, roomPrefix } from '../../src/redis/keys.ts'
import { newId } from '../../src/system.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { seeded } from '../support/seeds.ts'
import { until } from '../support/wire.ts'

const BOUNDS = { maxAgeMs: 600_000, maxBytes: 100_000 }
const REPLY: WholeReply = { status: 200, headers: ['a', 'b'], body: Buffer.from('kept') }
/** See ENTRY_BYTES. */
const COUNTED_BESIDE = 512

let redis: TestRedis
let raw: Redis
before(async () => {
  redis = await startRedis()
  raw = new Redis(redis.port, '127.0.0.1')
  raw.on('error', () => {})
})
after(async () => {
  raw.disconnect()
  await redis.stop()
})

const open = async (bounds = BOUNDS) => new RedisAnswers(await upLink(redis.url, { commandTimeoutMs: 5_000 }), bounds)

test('a value that was damaged, cut or never ours is a miss', async t => {
  const answers = await open()
  const model = newId()
  const key = answerKey(model, 'key')
  await answers.put(model, 'key', REPLY)
  const value = (await raw.getBuffer(key))!
  const damaged = fc.oneof(
    fc.nat(value.length - 1).map(length => value.subarray(0, length)),
    fc.nat(value.length - 1).chain(at =>
      fc.integer({ min: 1, max: 255 }).map(flip => {
        const other = Buffer.from(value)
        other[at]! ^= flip
        return other
      }),
    ),
    fc.uint8Array({ maxLength: 50 }).map(bytes => Buffer.from(bytes)),
    fc.constantFrom('00000000', '{}', '9dd2d2df[200,[]]\n', ''),
  )
  await fc.assert(
    fc.asyncProperty(damaged, async other => {
      await raw.set(key, other)
      assert.equal(await answers.get(model, 'key'), undefined)
    }),
    seeded(t, 300),
  )
  await raw.set(key, value)
  assert.deepEqual((await answers.get(model, 'key'))?.reply, REPLY)
  await raw.del(key)
  await raw.lpush(key, 'a list')
  assert.equal(await answers.get(model, 'key'), undefined)
})

test('however they come, the values of a model stay within its bytes, and all of it expires by itself', async t => {
  const put = fc.record({ key: fc.nat(40), bytes: fc.nat(20_000) })
  await fc.assert(
    fc.asyncProperty(fc.array(put, { minLength: 1, maxLength: 60 }), async puts => {
      const answers = await open()
      const model = newId()
      const { index, sizes } = answerIndexKeys(model)
      for (const { key, bytes } of puts)
        await answers.put(model, `key ${key}`, { ...REPLY, body: Buffer.alloc(bytes, 'x') })
      const keys = await raw.keys(`${roomPrefix(model)}answer:*`)
      let sum = 0
      for (const key of keys) {
        const bytes = (await raw.strlen(key)) + COUNTED_BESIDE
        assert.equal(await raw.hget(sizes, key), String(bytes))
        sum += bytes
      }
      assert.ok(sum <= BOUNDS.maxBytes, `${sum} bytes`)
      assert.equal(await raw.hget(sizes, ''), String(sum))
      assert.deepEqual((await raw.zrange(index, '0', '-1')).toSorted(), keys.toSorted())
      for (const key of [...keys, index, sizes]) assert.ok((await raw.pttl(key)) > 0, key)
      const last = puts.at(-1)!
      assert.equal((await answers.get(model, `key ${last.key}`))?.reply.body.length, last.bytes)
    }),
    seeded(t, 15),
  )
})

test('an index that a shorter age would expire sooner outlives the values that are in it', async () => {
  const model = newId()
  await (await open()).put(model, 'long', REPLY)
  await (await open({ ...BOUNDS, maxAgeMs: 1_000 })).put(model, 'short', REPLY)
  const { index, sizes } = answerIndexKeys(model)
  const expires = (key: string) => raw.pexpiretime(key)
  const last = await expires(answerKey(model, 'long'))
  for (const key of [index, sizes]) assert.ok((await expires(key)) >= last, key)
})

test('an answer is too old by the age that holds when it is asked for', async () => {
  const [long, short] = [await open(), await open({ ...BOUNDS, maxAgeMs: 1 })]
  const model = newId()
  await long.put(model, 'key', REPLY)
  await until(async () => (await short.get(model, 'key')) === undefined, 'it is a millisecond old')
  assert.ok(await long.get(model, 'key'))
})

test('what would take too many deletions at once is not kept, and makes room for the next', async () => {
  const answers = await open({ ...BOUNDS, maxBytes: 300_000 })
  const model = newId()
  for (let i = 0; i < 500; i++) await answers.put(model, String(i), REPLY)
  const large = { ...REPLY, body: Buffer.alloc(290_000) }
  const tries: boolean[] = []
  for (let i = 0; i < 3; i++) {
    await answers.put(model, 'large', large)
    tries.push((await answers.get(model, 'large')) !== undefined)
  }
  assert.deepEqual(tries, [false, false, true])
})

test('while Redis does not answer, or is gone, there is nothing, at once or within a command or two', async () => {
  const commandTimeoutMs = 200
  const link = await upLink(redis.url, { commandTimeoutMs })
  const answers = new RedisAnswers(link, BOUNDS)
  const model = newId()
  await answers.put(model, 'key', REPLY)
  redis.pause()
  const startedMs = performance.now()
  assert.equal(await answers.get(model, 'key'), undefined)
  await answers.put(model, 'key', REPLY)
  const tookMs = performance.now() - startedMs
  redis.resume()
  assert.ok(tookMs < 10 * commandTimeoutMs, `${tookMs} ms`)
  await redis.kill()
  await until(() => !link.isUp, 'the link is down')
  assert.equal(await answers.get(model, 'key'), undefined)
  await answers.put(model, 'key', REPLY)
  await redis.start()
  await until(() => link.isUp, 'the link is up')
  assert.equal(await answers.get(model, 'key'), undefined)
  await answers.put(model, 'key', REPLY)
  assert.deepEqual((await answers.get(model, 'key'))?.reply, REPLY)
})
