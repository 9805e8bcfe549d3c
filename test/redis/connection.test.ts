// The link on a real server that goes away, comes back, forgets and freezes.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Redis } from 'ioredis'
import { RedisFault, type RedisFaultKind } from '../../src/redis/fault.ts'
import { defineScript } from '../../src/redis/script.ts'
import { closeLinks, openLink, publishedUntilHeard, SETTINGS, upLink } from '../support/redisLinks.ts'
import { startRedis, startValkey, type TestRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'

const count = defineScript('count', "return redis.call('INCRBY', KEYS[1], ARGV[1])")
const echo = defineScript('echo', 'return {ARGV[1], #KEYS, 7.9, false, {1, "x"}}')
const faulty = defineScript('faulty', "return redis.call('NONSENSE')")

let redis: TestRedis
let admin: Redis
before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url, { maxRetriesPerRequest: null })
  admin.on('error', () => {})
})
afterEach(() => redis.resume())
after(async () => {
  admin.disconnect()
  await redis.stop()
})

async function rejected(call: Promise<unknown>): Promise<RedisFault> {
  const error = await call.then(
    () => undefined,
    reason => reason,
  )
  assert.ok(error instanceof RedisFault, `a RedisFault, not ${error}`)
  return error
}

async function rejects(call: Promise<unknown>, ...kinds: RedisFaultKind[]): Promise<void> {
  const { kind, message } = await rejected(call)
  assert.ok(kinds.includes(kind), `${kind}: ${message}`)
}

test('a script runs with its keys and arguments, and its answer keeps its shape', async () => {
  const link = await upLink(redis.url)
  assert.deepEqual(await link.run(echo, ['a', 'b'], ['text é', 1, Buffer.from('x')]), ['text é', 2, 7, null, [1, 'x']])
  assert.equal(await link.run(count, ['n'], [40]), 40)
  assert.equal(await link.run(count, ['n'], [2]), 42)
})

test('scripts that Redis has forgotten are loaded again, and each runs once', async () => {
  const link = await upLink(redis.url)
  await admin.del('n')
  for (let round = 1; round <= 3; round++) {
    await admin.script('FLUSH')
    const runs = Array.from({ length: 20 }, () => link.run(count, ['n'], [1]))
    await Promise.all([...runs, link.run(echo, [], ['other'])])
    assert.equal(Number(await admin.get('n')), 20 * round)
  }
  assert.deepEqual(await admin.script('EXISTS', count.sha, echo.sha), [1, 1])
})

test("a script's own error is a reply fault that names the script", async () => {
  const link = await upLink(redis.url)
  const fault = await rejected(link.run(faulty, [], []))
  assert.equal(fault.kind, 'reply')
  assert.match(fault.message, /^faulty: ERR .*Unknown Redis command/i)
  assert.ok(link.isUp)
})

test('a restarted server is reached again: down and up are told once each, scripts and subscriptions are back', async () => {
  const link = await upLink(redis.url)
  const heard: string[] = []
  const told: string[] = []
  link.subscribe('hints', message => heard.push(message))
  link.onUp(() => told.push('up'))
  link.onDown(() => told.push('down'))
  await link.run(count, ['n'], [1])
  await redis.restart()
  await until(() => told.includes('up'), 'it comes back')
  assert.deepEqual(told, ['down', 'up'])
  assert.equal(await link.run(count, ['n'], [5]), 5, 'the state is lost')
  await publishedUntilHeard(link, 'hints', heard)
})

test('while Redis is away calls are rejected at once, and the link says why', async () => {
  const link = await upLink(redis.url)
  await redis.kill()
  await until(() => !link.isUp, 'it sees that')
  const before = performance.now()
  for (let i = 0; i < 1000; i++) await rejects(link.run(count, ['n'], [1]), 'away')
  await rejects(link.publish('c', 'm'), 'away')
  assert.ok(performance.now() - before < 500, 'a thousand refusals wait for nothing')
  await until(() => /ECONNREFUSED 127\.0\.0\.1/.test(link.trouble ?? ''), 'the reason')
  await redis.start()
  await until(() => link.isUp, 'it is back')
  assert.equal(link.trouble, undefined)
  assert.equal(await link.run(count, ['n'], [1]), 1)
})

test('a command whose connection breaks is lost, not sent again', async () => {
  const link = await upLink(redis.url, { commandTimeoutMs: 5_000 })
  redis.pause()
  const ended = rejects(link.run(count, ['n'], [1]), 'lost')
  await new Promise(resolve => setImmediate(resolve))
  await redis.restart()
  await ended
  await until(() => link.isUp, 'it is back')
  assert.equal(await admin.get('n'), null)
})

test('a frozen server: every call ends within the timeout, then at once, and a thawed one works again', async () => {
  const link = await upLink(redis.url)
  const told: string[] = []
  link.onUp(() => told.push('up'))
  link.onDown(reason => told.push(reason))
  redis.pause()
  const times = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const start = performance.now()
      await rejects(link.run(count, ['n'], [1]), 'timeout')
      return performance.now() - start
    }),
  )
  assert.ok(Math.max(...times) < SETTINGS.commandTimeoutMs + 200, `within the bound: ${Math.max(...times)}`)
  await until(() => !link.isUp, 'a PING is missed', 2_000)
  assert.match(told[0]!, /no answer in time/)
  const before = performance.now()
  await rejects(link.run(count, ['n'], [1]), 'away')
  assert.ok(performance.now() - before < 50)
  redis.resume()
  await until(() => told.includes('up'), 'it answers')
  assert.deepEqual(told.slice(1), ['up'])
  assert.equal(typeof (await link.run(count, ['m'], [1])), 'number')
})

test('a server frozen for long is left and found again, hints included', async () => {
  const link = await upLink(redis.url, { commandTimeoutMs: 50 })
  const heard: string[] = []
  link.subscribe('hints', message => heard.push(message))
  await publishedUntilHeard(link, 'hints', heard)
  const before = clientIds(await admin.client('LIST'))
  redis.pause()
  await until(() => !link.isUp, 'it is down')
  // Longer than a socket may owe an answer.
  await new Promise(resolve => setTimeout(resolve, 1_500))
  redis.resume()
  await until(() => link.isUp, 'it is up')
  await publishedUntilHeard(link, 'hints', heard)
  const now = clientIds(await admin.client('LIST'))
  assert.ok(
    now.some(id => !before.includes(id)),
    'by a new connection',
  )
})

test('a call that outlasts its time does not take the link down when the server answers the PING after it', async () => {
  const link = await upLink(redis.url, { commandTimeoutMs: 600 })
  let downs = 0
  link.onDown(() => downs++)
  redis.pause()
  await rejects(link.run(count, ['n'], [1]), 'timeout')
  redis.resume()
  const answered = () =>
    link.run(count, ['n'], [1]).then(
      () => true,
      () => false,
    )
  await until(answered, 'the next one is answered')
  assert.equal(downs, 0)
})

test('a Redis that is not there at the start is told once and found when it comes', async () => {
  await redis.kill()
  const link = openLink(redis.url)
  const told: string[] = []
  link.onUp(() => told.push('up'))
  link.onDown(() => told.push('down'))
  const heard: string[] = []
  link.subscribe('early', message => heard.push(message))
  await rejects(link.run(count, ['n'], [1]), 'away')
  await until(() => told.length > 0, 'it is told')
  await redis.start()
  await until(() => link.isUp, 'it comes')
  assert.deepEqual(told, ['down', 'up'])
  await publishedUntilHeard(link, 'early', heard)
})

test('a script reaches subscribers with the command the link names; an ended subscription hears nothing', async () => {
  const [link, other] = [await upLink(redis.url), await upLink(redis.url)]
  const heard: string[] = []
  const alsoHeard: string[] = []
  const stop = other.subscribe('c', message => heard.push(message))
  other.subscribe('c', message => alsoHeard.push(message))
  await publishedUntilHeard(link, 'c', heard)
  const publish = defineScript('publish', 'return redis.call(ARGV[1], ARGV[2], ARGV[3])')
  await link.run(publish, [], [link.publishCommand, 'c', 'from a script'])
  await until(() => heard.includes('from a script'), 'it is heard')
  stop()
  const before = heard.length
  await link.publish('c', 'last')
  await until(() => alsoHeard.includes('last'), 'the other listener hears')
  assert.equal(heard.length, before)
})

test('check tells version and settings', async () => {
  const link = await upLink(redis.url)
  const [check] = await link.check()
  assert.match(check!.server, /^(redis|valkey) \d+\.\d+/)
  assert.deepEqual(check!.warnings, [])
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  assert.match((await link.check())[0]!.warnings.join(), /allkeys-lru/)
  await admin.config('SET', 'maxmemory-policy', 'noeviction')
})

test('a Valkey serves as well as a Redis', async t => {
  const valkey = await startValkey()
  if (!valkey) return t.skip('no valkey-server here')
  t.after(() => valkey.stop())
  const link = await upLink(valkey.url)
  assert.equal(await link.run(count, ['n'], [1]), 1)
  assert.match((await link.check())[0]!.server, /^valkey /)
})

test('close leaves no socket and no timer, up, down or frozen, and no call pending', async () => {
  // Those of the tests before have beats and timers of their own.
  await closeLinks()
  const handles = () => process.getActiveResourcesInfo().filter(name => /TCP|TLS|Timeout/.test(name)).length
  const before = handles()
  const isGone = () => until(() => handles() <= before, `at most ${before}: ${process.getActiveResourcesInfo()}`)
  const up = await upLink(redis.url)
  await up.close()
  await up.close()
  await rejects(up.run(count, ['n'], [1]), 'away')
  await isGone()
  const frozen = await upLink(redis.url, { commandTimeoutMs: 5_000 })
  redis.pause()
  const ended = rejects(frozen.run(count, ['n'], [1]), 'lost')
  await frozen.close()
  await ended
  await isGone()
  const connecting = openLink(redis.url)
  await connecting.close()
  await isGone()
  redis.resume()
  const down = openLink('redis://127.0.0.1:1')
  await until(() => /ECONNREFUSED/.test(down.trouble ?? ''), 'it is down')
  await down.close()
  await isGone()
})

function clientIds(list: unknown): string[] {
  return [...String(list).matchAll(/^id=(\d+)/gm)].map(match => match[1]!)
}
