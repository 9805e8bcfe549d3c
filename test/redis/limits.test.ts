// Limits in Redis beside the contract: equal to memory on random histories, exact under parallel connections, leases of
// gateways that die, standing alone, and what is kept.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { LimitSettings } from '../../src/domain/limits/clientLimits.ts'
import { ALGORITHMS, type Algorithm } from '../../src/domain/limits/meter.ts'
import type { Admission, ClientLimits } from '../../src/gateway/limitPorts.ts'
import { MemoryClientLimits } from '../../src/memory/limits.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { clientPrefix } from '../../src/redis/keys.ts'
import { LEASE_MS, RedisClientLimits } from '../../src/redis/limits.ts'
import { systemClock } from '../../src/system.ts'
import { StoryClock } from '../contract/limitsBench.ts'
import { assertLuaStyle } from '../support/luaStyle.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { seeded } from '../support/seeds.ts'
import { until } from '../support/wire.ts'
import { loadLimitScripts, openLimits } from './limitsBench.ts'

const PATIENT = { commandTimeoutMs: 5_000 }
const CONNECTIONS = 50

let server: TestRedis
let link: RedisLink
before(async () => {
  server = await startRedis()
  await loadLimitScripts([server.url])
  link = await upLink(server.url, PATIENT)
})
after(async () => {
  await link.close()
  await server.stop()
})

let names = 0
const newName = () => `client-${++names}`

type Step =
  | { kind: 'pass'; ms: number }
  | { kind: 'stepBack'; ms: number }
  | { kind: 'take'; share: number }
  | { kind: 'end'; which: number; share: number }
  | { kind: 'limit'; factor: number }

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat(100), fc.nat(20_000), fc.nat(130_000)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('stepBack' as const), ms: fc.oneof(fc.nat(1_500), fc.nat(9_000)) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('take' as const), share: fc.double({ min: 0, max: 1.1, noNaN: true }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      which: fc.nat(20),
      share: fc.constantFrom(0, 0.3, 1, 2.5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('limit' as const), factor: fc.constantFrom(0.2, 1, 3) }) },
)

/** What both stores said, step by step. */
async function play(limits: ClientLimits, clock: StoryClock, history: Step[], settings: LimitSettings, client: string) {
  const said: unknown[] = []
  const open: { tokens: number; end: (tokens: number) => void }[] = []
  const base = settings.tokensPerMinute!
  for (const [index, step] of history.entries()) {
    if (step.kind === 'pass') await clock.advance(step.ms)
    else if (step.kind === 'stepBack') clock.stepBack(step.ms)
    else if (step.kind === 'limit') settings = { ...settings, tokensPerMinute: Math.ceil(base * step.factor) }
    else if (step.kind === 'end') {
      const [call] = open.splice(step.which % Math.max(1, open.length), 1)
      call?.end(call.tokens * step.share)
    } else {
      const tokens = Math.round(base * step.share ** 3)
      const { levels, ...rest }: Admission = await limits.take(client, settings, tokens, `${client}-${index}`)
      if (rest.kind === 'allowed') open.push({ tokens, end: rest.end })
      said.push([index, levels, rest.kind === 'refused' && rest.denial])
    }
  }
  return said
}

for (const algorithm of ALGORITHMS)
  test(`${algorithm}: memory and Redis agree on random histories, whatever the clock does`, async t => {
    const settings = fc.record({
      algorithm: fc.constant(algorithm),
      requestsPerMinute: fc.constantFrom(5, 60, 1_000_000_000),
      tokensPerMinute: fc.constantFrom(7, 1_000, 123_457, 1_000_000_000),
      concurrent: fc.constantFrom(3, 1_000),
    })
    await fc.assert(
      fc.asyncProperty(settings, fc.array(steps, { maxLength: 80, size: 'max' }), async (limits, history) => {
        const client = newName()
        const [here, there] = [new StoryClock(), new StoryClock()]
        const own = await play(new MemoryClientLimits(here), here, history, limits, client)
        const shared = openLimits(link, there)
        assert.deepEqual(await play(shared, there, history, limits, client), own)
        await shared.close()
      }),
      seeded(t, 150),
    )
  })

/** Each store on a connection of its own. */
async function manyStores(t: { after(task: () => Promise<void>): void }): Promise<RedisClientLimits[]> {
  const links = await Promise.all(Array.from({ length: CONNECTIONS }, () => upLink(server.url, PATIENT)))
  t.after(async () => {
    await Promise.all(links.map(one => one.close()))
  })
  const clock = new StoryClock()
  return links.map(one => openLimits(one, clock))
}

test(`${CONNECTIONS} parallel connections are let in exactly the limit, whatever the algorithm`, async t => {
  const stores = await manyStores(t)
  for (const algorithm of ALGORITHMS) {
    const client = newName()
    const settings = { algorithm, requestsPerMinute: 100, tokensPerMinute: 1_000_000 }
    const asked = stores.flatMap((store, i) =>
      Array.from({ length: 10 }, (_, j) => store.take(client, settings, 3, `${i}-${j}`)),
    )
    const allowed = (await Promise.all(asked)).filter(one => one.kind === 'allowed')
    assert.equal(allowed.length, algorithm === 'leaky-bucket' ? 1 : 100, algorithm)
  }
})

test(`${CONNECTIONS} parallel connections have exactly so many calls in flight as they may, again and again`, async t => {
  const stores = await manyStores(t)
  const client = newName()
  const settings: LimitSettings = { algorithm: 'token-bucket', concurrent: 20 }
  for (let round = 0; round < 3; round++) {
    const asked = stores.flatMap((store, i) =>
      [0, 1, 2].map(j => store.take(client, settings, 0, `${round}-${i}-${j}`)),
    )
    const allowed = (await Promise.all(asked)).filter(one => one.kind === 'allowed')
    assert.equal(allowed.length, 20)
    for (const { end } of allowed) end(0)
    const admin = new Redis(server.url)
    await until(async () => (await admin.exists(`${clientPrefix(client)}in-flight`)) === 0, 'all places are free')
    admin.disconnect()
  }
})

test('the places of a gateway that died are free when its lease is over, and not before', async () => {
  const clock = new StoryClock()
  const client = newName()
  const settings: LimitSettings = { algorithm: 'token-bucket', concurrent: 2 }
  const [dead, alive] = [openLimits(link, clock), openLimits(link, clock)]
  await dead.take(client, settings, 0, 'lost')
  const kept = await alive.take(client, settings, 0, 'kept')
  await clock.advance(5_000)
  await dead.close()
  await clock.advance(LEASE_MS - 5_001)
  assert.equal((await alive.take(client, settings, 0, 'early')).kind, 'refused')
  await clock.advance(1)
  assert.equal((await alive.take(client, settings, 0, 'next')).kind, 'allowed')
  // That of the living one has been renewed meanwhile.
  assert.equal((await alive.take(client, settings, 0, 'more')).kind, 'refused')
  assert.ok(kept.kind === 'allowed')
  kept.end(0)
  assert.equal((await alive.take(client, settings, 0, 'more')).kind, 'allowed')
  await alive.close()
})

test('what has ended is told before it closes, by scripts that Redis does not know yet too', async t => {
  const clock = new StoryClock()
  const client = newName()
  const settings: LimitSettings = { algorithm: 'token-bucket', concurrent: 1 }
  const [own, admin] = [await upLink(server.url, PATIENT), new Redis(server.url)]
  t.after(async () => {
    admin.disconnect()
    await own.close()
  })
  // The turn of the event loop does not end before it closes.
  const leaving = new RedisClientLimits({
    link: own,
    standIn: new MemoryClientLimits(clock),
    clock,
    soon: () => {},
    nowMs: () => clock.nowMs(),
  })
  const admission = await leaving.take(client, settings, 0, 'a')
  assert.ok(admission.kind === 'allowed')
  admission.end(0)
  await admin.script('FLUSH')
  await leaving.close()
  await own.close()
  await loadLimitScripts([server.url])
  assert.equal((await openLimits(link, clock).take(client, settings, 0, 'b')).kind, 'allowed')
})

test("by Redis's own clock: a refused call comes back after what it was told", async () => {
  const limits = new RedisClientLimits({
    link,
    standIn: new MemoryClientLimits(systemClock),
    clock: systemClock,
    soon: task => task(),
  })
  const client = newName()
  const settings: LimitSettings = { algorithm: 'leaky-bucket', requestsPerMinute: 1_200 }
  const spent = async () => {
    for (let i = 0; ; i++) {
      const admission = await limits.take(client, settings, 0, `${i}`)
      if (admission.kind === 'refused') return admission.denial.retryAfterMs
    }
  }
  const retryAfterMs = await spent()
  assert.ok(retryAfterMs > 0 && retryAfterMs <= 50, `${retryAfterMs} ms`)
  await until(async () => (await limits.take(client, settings, 0, 'later')).kind === 'allowed', 'one has leaked')
  await limits.close()
})

test('while Redis is away this process counts alone, with the whole limit, and what Redis knew is there again after', async t => {
  const lonely = await startRedis()
  t.after(() => lonely.stop())
  const own = await upLink(lonely.url, { commandTimeoutMs: 250 })
  const clock = new StoryClock()
  const calls: [string, boolean][] = []
  const limits = new RedisClientLimits({
    link: own,
    standIn: new MemoryClientLimits(clock),
    clock,
    soon: task => task(),
    nowMs: () => clock.nowMs(),
    onCall: (call, _ms, ok) => calls.push([call, ok]),
  })
  const settings: LimitSettings = { algorithm: 'sliding-window-log', requestsPerMinute: 3, tokensPerMinute: 100 }
  const pass = async () => {
    let passed = 0
    for (let i = 0; i < 5; i++) if ((await limits.take('app', settings, 1, `${i}`)).kind === 'allowed') passed += 1
    return passed
  }
  assert.equal(await pass(), 3)
  lonely.pause()
  // The first finds out; nobody is refused or kept waiting for ever because of it.
  assert.equal(await pass(), 3)
  await until(() => !own.isUp, 'Redis counts as away')
  assert.equal(await pass(), 0)
  lonely.resume()
  await until(() => own.isUp, 'Redis is back')
  assert.equal(await pass(), 0)
  await clock.advance(60_000)
  assert.equal(await pass(), 3)
  assert.deepEqual(
    calls.find(([, ok]) => !ok),
    ['limits-take', false],
  )
  await limits.close()
})

test('every key is one that meters.lua tells of, ends by itself, and a log stays bounded', async () => {
  const redis = new Redis(server.url)
  await redis.flushall()
  const clock = new StoryClock()
  const shared = openLimits(link, clock)
  for (const algorithm of ALGORITHMS) {
    const settings = { algorithm, requestsPerMinute: 6_000, tokensPerMinute: 6_000_000, concurrent: 500 }
    for (let call = 0; call < 300; call++) {
      const admission = await shared.take('app', settings, 10, `${algorithm}-${call}`)
      if (admission.kind === 'allowed' && call % 2 === 0) admission.end(5)
      await clock.advance(call % 50)
    }
  }
  const told = keysToldOf()
  const keys = await redis.keys('*')
  assert.equal(keys.length, ALGORITHMS.length + 1 + 1, keys.join())
  for (const key of keys) {
    assert.ok(key.startsWith(clientPrefix('app')), key)
    const name = key.slice(clientPrefix('app').length)
    assert.ok(
      told.some(pattern => pattern.test(name)),
      `${name} is not in meters.lua`,
    )
    const leftMs = await redis.pttl(key)
    assert.ok(leftMs > 0 && leftMs <= 5 * 60_000, `${key}: ${leftMs} ms`)
    if (/log:/.test(key)) assert.ok((await redis.hlen(key)) <= 1_002)
  }
  redis.disconnect()
  await shared.close()
})

function keysToldOf(): RegExp[] {
  const header = readFileSync(new URL('prelude/meters.lua', FOLDER), 'utf8')
  return [...header.matchAll(/^-- {3}(\S+) +(HASH|ZSET) /gm)].map(
    ([, name]) => new RegExp(`^${name!.replace(/<\w+>/g, '[a-z-]+')}$`),
  )
}

const FOLDER = new URL('../../src/redis/limitScripts/', import.meta.url)

test('scripts open with their idea, verbs with KEYS, ARGV and replies; files, lines and functions are short; no number becomes text', () => {
  assert.ok(assertLuaStyle(FOLDER, /PREFIX \.\. '[a-z:-]+'/) >= 10)
})

test('a process forgets the clients that are no longer in the config, and no other', () => {
  const clock = new StoryClock()
  const limits = new MemoryClientLimits(clock)
  const settings: LimitSettings = { algorithm: 'sliding-window-log', requestsPerMinute: 1 }
  const take = (client: string): Algorithm | string => limits.take(client, settings, 0).kind
  assert.deepEqual([take('a'), take('b'), take('a'), take('b')], ['allowed', 'allowed', 'refused', 'refused'])
  limits.keep(new Set(['b']))
  assert.deepEqual([take('a'), take('b')], ['allowed', 'refused'])
})
