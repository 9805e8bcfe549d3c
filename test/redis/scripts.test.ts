// What the scripts do beside what the engine does (twin.test.ts): errors, outboxes and hints, settings, keys, and how their
// text is written.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, beforeEach, test } from 'node:test'
import { Redis } from 'ioredis'
import { grantsChannel, roomPrefix } from '../../src/redis/keys.ts'
import { readSnapshot } from '../../src/redis/roomStatus.ts'
import type { ScriptReply } from '../../src/redis/script.ts'
import { SCRIPTS } from '../../src/redis/scripts.ts'
import { assertLuaStyle } from '../support/luaStyle.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'
import type { Reply } from './twinRoom.ts'

const START_MS = 1_764_000_000_000
const MODEL = 'claude'
const FOLDER = new URL('../../src/redis/scripts/', import.meta.url)

let server: TestRedis
let redis: Redis
before(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  for (const { source } of Object.values(SCRIPTS)) await redis.script('LOAD', source)
})
beforeEach(() => redis.flushall())
after(async () => {
  redis.disconnect()
  await server.stop()
})

interface Caller {
  gateway?: string
  /** After the start; absent: Redis's own time. */
  atMs?: number | undefined
  model?: string
}

async function run(verb: keyof typeof SCRIPTS, args: (string | number)[], caller: Caller): Promise<Reply> {
  const { gateway = 'gw1', atMs, model = MODEL } = caller
  const nowUs = atMs === undefined ? '' : (START_MS + atMs) * 1000
  return (await redis.evalsha(
    SCRIPTS[verb].sha,
    1,
    roomPrefix(model),
    nowUs,
    gateway,
    ...(verb === 'acquire' ? [0, ...args] : args),
  )) as Reply
}

const POOL = ['only', 600, 60_000]

function configure(
  version = 'v1',
  pool: (string | number)[] = POOL,
  caller: Caller = { atMs: 0 },
  publish = 'PUBLISH',
) {
  return run('configure', [version, 0.05, 100, 50, publish, '', ...pool], caller)
}

/** 1,000 tokens: a second of the pool. */
function ask(id: string, { user = 'user', client = 'app', rank = 1, tokens = 1_000 } = {}): (string | number)[] {
  return [id, rank, client, 1, user, tokens, 60_000, `sdk ${id}`]
}

async function snapshot(atMs: number, model = MODEL) {
  return readSnapshot((await run('status', [100], { atMs, model })) as unknown as ScriptReply)
}

/** Two gateways' tickets wait, and at 10 s there is room for both. */
async function twoWait(publish = 'PUBLISH'): Promise<void> {
  await configure('v1', POOL, { atMs: 0 }, publish)
  assert.deepEqual((await run('acquire', ask('mine'), { atMs: 0 }))[1][0]!.toString().slice(0, 7), 'waiting')
  await run('acquire', [...ask('theirs'), ...ask('also')], { gateway: 'gw2', atMs: 0 })
}

test('without settings every verb but configure says NOSTATE and writes nothing', async () => {
  for (const verb of Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[]) {
    if (verb === 'configure') continue
    await assert.rejects(
      run(verb, verb === 'acquire' ? ask('a') : ['a', 1], { atMs: 0 }),
      /^ReplyError: NOSTATE /,
      verb,
    )
  }
  assert.equal(await redis.dbsize(), 0)
})

test("a new room is empty, fills from Redis's own clock, and is brought up to it", async () => {
  await configure('v1', ['only', '', 6e9], {})
  const [seconds, micros] = (await redis.time()).map(Number) as [number, number]
  const reply = await redis.evalsha(SCRIPTS.status.sha, 1, roomPrefix(MODEL), '', 'gw1', 0)
  const { asOfMs, pools } = readSnapshot(reply as ScriptReply)
  const laterMs = asOfMs - (seconds * 1000 + micros / 1000)
  assert.ok(laterMs >= 0 && laterMs < 10_000, `${laterMs} ms later`)
  assert.ok(pools[0]!.tokens!.level > 0 && pools[0]!.tokens!.level < 1e9)
  assert.equal(pools[0]!.requests, undefined)
  assert.deepEqual((await run('acquire', ask('a', { tokens: 1 }), {}))[1], [['granted', 'only']])
})

for (const publish of ['PUBLISH', 'SPUBLISH'] as const) {
  test(`a grant reaches the gateway that waits for it by its outbox, with one hint a call (${publish})`, async () => {
    const heard: string[] = []
    const listener = new Redis(server.url)
    const channel = grantsChannel(MODEL, 'gw2')
    if (publish === 'PUBLISH') await listener.subscribe(channel)
    else await listener.ssubscribe(channel)
    listener.on(publish === 'PUBLISH' ? 'message' : 'smessage', (_, message) => heard.push(message))
    await twoWait(publish)
    const [napMs, , grants] = await run('tick', [], { atMs: 10_000 })
    assert.deepEqual([napMs, grants], [-1, ['mine', 'only']])
    await until(() => heard.length > 0, 'the hint')
    assert.deepEqual(heard, ['2'])
    const outbox = `${roomPrefix(MODEL)}outbox:gw2`
    const seconds = await redis.ttl(outbox)
    assert.ok(seconds > 3_500 && seconds <= 3_600, `${seconds} s`)
    // Any verb brings them, once.
    const [, , theirs] = await run('settle', ['unknown', 1], { gateway: 'gw2', atMs: 10_000 })
    assert.deepEqual(theirs, ['theirs', 'only', 'also', 'only'])
    assert.deepEqual((await run('tick', [], { gateway: 'gw2', atMs: 10_001 }))[2], [])
    assert.equal(await redis.exists(outbox), 0)
    listener.disconnect()
  })
}

test('a gateway that lost the reply asks again and is told where it stands, once', async () => {
  await twoWait()
  // Both replies of this call are lost.
  await run('tick', [], { gateway: 'gw2', atMs: 10_000 })
  const [, results, grants] = await run('acquire', [...ask('theirs'), ...ask('also')], { gateway: 'gw2', atMs: 10_000 })
  assert.deepEqual(results, [
    ['granted', 'only'],
    ['granted', 'only'],
  ])
  assert.deepEqual(grants, [])
  // Not lost, but asked again before the outbox was looked into.
  assert.deepEqual((await run('acquire', ask('mine'), { atMs: 10_000 })).slice(1), [[['granted', 'only']], []])
  assert.equal((await snapshot(10_000)).reserved, 3)
})

test('who leaves is told what a newcomer would be, or the pool when the turn had come, or nothing', async () => {
  await twoWait()
  const [, [left], grants] = await run('cancel', ['mine'], { atMs: 100 })
  assert.deepEqual([left, grants], [['left', 'tokens', 3_000], []])
  await run('tick', [], { atMs: 10_000 })
  const [, results, others] = await run('cancel', ['theirs', 'nobody'], { gateway: 'gw2', atMs: 10_000 })
  assert.deepEqual(
    [results, others],
    [
      ['only', 0],
      ['also', 'only'],
    ],
  )
})

test('a settlement that makes room brings the turns it made in the same reply', async () => {
  await configure()
  await run('acquire', ask('held', { tokens: 2_500 }), { atMs: 3_000 })
  const [, results] = await run('acquire', [...ask('a'), ...ask('b')], { atMs: 3_000 })
  assert.deepEqual(
    results.map(result => (result as string[])[0]),
    ['waiting', 'waiting'],
  )
  const reply = await run('settle', ['held', 0, 'held', 0], { atMs: 3_000 })
  assert.deepEqual(reply, [-1, [1, 0], ['a', 'only', 'b', 'only']])
})

test('configure of the same version changes nothing; of another, the quotas, and levels, waiters and reservations stay', async () => {
  assert.deepEqual((await configure('v1'))[1], [1])
  await run('acquire', ask('held'), { atMs: 3_000 })
  await run('acquire', ask('large', { tokens: 3_500 }), { atMs: 3_000 })
  await run('report', [], { atMs: 3_000 })
  await run('steer', ['', 'only', '', '', 0], { atMs: 3_000 })
  const stored = await redis.hget(`${roomPrefix(MODEL)}room`, 'settings')
  assert.deepEqual((await configure('v1', ['other', 1, 1], { atMs: 3_000 }))[1], [0])
  assert.equal(await redis.hget(`${roomPrefix(MODEL)}room`, 'settings'), stored)
  const before = await snapshot(3_000)
  assert.deepEqual((await configure('v2', ['only', 300, 6_000], { atMs: 3_000 }))[1], [1])
  const now = await snapshot(3_000)
  assert.equal(now.pools[0]!.tokens!.quotaPerMinute, 6_000)
  assert.equal(now.pools[0]!.requests!.level, Math.min(before.pools[0]!.requests!.level, 15))
  assert.deepEqual(
    [now.reserved, now.classes[1]!.waiting, now.epoch],
    [1, before.classes[1]!.waiting, before.epoch + 1],
  )
})

test('a batch does what its items do one by one at the same moment', async () => {
  const items = Array.from({ length: 12 }, (_, index) =>
    ask(`t${index}`, { user: `u${index % 5}`, client: `c${index % 2}`, rank: index % 3, tokens: 200 + 150 * index }),
  )
  const results: unknown[] = []
  for (const model of ['batch', 'single']) {
    const caller = { model, atMs: 2_000 }
    await configure('v1', POOL, { model, atMs: 0 })
    const one = async (verb: 'acquire' | 'settle' | 'cancel' | 'requeue', all: (string | number)[][]) => {
      const calls = model === 'batch' ? [all.flat()] : all
      for (const args of calls) results.push(...(await run(verb, args, caller))[1].map(result => [model, result]))
    }
    await one('acquire', items)
    await one('settle', [
      ['t0', 100],
      ['t1', 900],
      ['t0', 1],
    ])
    await one('requeue', [
      ['t2', 100],
      ['t3', 1_000_000],
      ['nobody', 0],
    ])
    await one('cancel', [['t7'], ['t8'], ['t7'], ['t4']])
  }
  const half = results.length / 2
  const of = (part: unknown[]) => part.map(one => (one as unknown[])[1])
  assert.deepEqual(of(results.slice(0, half)), of(results.slice(half)))
  assert.deepEqual(await snapshot(2_000, 'batch'), await snapshot(2_000, 'single'))
})

test('names that look like parts of keys are kept apart', async () => {
  await configure()
  const flows = [
    ['a', 'b:c'],
    ['a:b', 'c'],
    ['a', '1:x}{'],
    ['é', 'ü ü'],
  ] as const
  for (const [index, [client, user]] of flows.entries())
    for (const copy of [1, 2]) await run('acquire', ask(`t${index}.${copy}`, { client, user }), { atMs: 0 })
  const { flows: found } = await snapshot(0)
  const named = found.map(({ client, user, waiting }) => [client, user, waiting])
  assert.deepEqual(named.toSorted(), flows.map(flow => [...flow, 2]).toSorted())
  for (const [index] of flows.entries()) await run('cancel', [`t${index}.2`, `t${index}.1`], { atMs: 0 })
  assert.deepEqual((await snapshot(0)).flows, [])
})

test('every key is one that names.lua tells of, shares the model’s tag, and only outboxes end by themselves', async () => {
  const header = readFileSync(new URL('prelude/names.lua', FOLDER), 'utf8')
  const told = [...header.matchAll(/^-- {3}(\S+) +(HASH|ZSET|LIST) /gm)].map(([, name, type]) => ({
    pattern: new RegExp(`^${name!.replace(/<rank>/, '[012]').replace(/<\w+>/g, '.+')}$`),
    type: type!.toLowerCase(),
  }))
  await twoWait()
  await run('acquire', [...ask('held', { tokens: 1 }), ...ask('large', { tokens: 30_000, user: 'other' })], { atMs: 0 })
  await run('acquire', ask('high', { rank: 0, tokens: 1 }), { atMs: 1_000 })
  await run('tick', [], { atMs: 2_000 })
  const keys = await redis.keys('*')
  assert.ok(keys.length >= 15, keys.join())
  for (const key of keys) {
    const name = key.slice(roomPrefix(MODEL).length)
    assert.ok(key.startsWith(roomPrefix(MODEL)), key)
    const type = await redis.type(key)
    assert.ok(
      told.some(one => one.type === type && one.pattern.test(name)),
      `${name} (${type}) is not in names.lua`,
    )
    assert.equal((await redis.ttl(key)) > 0, name.startsWith('outbox:'), name)
  }
})

test('scripts open with their idea, verbs with KEYS, ARGV and replies; files, lines and functions are short; no number becomes text', () => {
  assert.ok(assertLuaStyle(FOLDER, /PREFIX \.\. '[a-z-]+'/g) > 0)
})
