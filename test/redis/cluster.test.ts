// The link on a real Redis Cluster of three: keys and hints find their node, and a lost node takes down its keys only.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { AddressLimiter } from '../../src/http/addressLimiter.ts'
import { addressCounts } from '../../src/redis/addressCounts.ts'
import { RedisFault } from '../../src/redis/fault.ts'
import { defineScript } from '../../src/redis/script.ts'
import { systemClock } from '../../src/system.ts'
import { startRedisCluster, type TestCluster } from '../support/redisCluster.ts'
import { openLink, publishedUntilHeard, upLink } from '../support/redisLinks.ts'
import { startRedis } from '../support/redisServer.ts'
import { until } from '../support/wire.ts'

const count = defineScript('count', "return redis.call('INCRBY', KEYS[1], ARGV[1])")
const say = defineScript('say', "return redis.call(ARGV[1], KEYS[1] .. ':hints', ARGV[2])")
/** Their slots are 3300, 7233 and 15495: one on each node. */
const TAGS = ['{b}', '{g}', '{a}'] as const

let cluster: TestCluster
before(async () => {
  cluster = await startRedisCluster(['--cluster-require-full-coverage', 'no'])
})
after(() => cluster.stop())

test('scripts run where their keys are, loaded on each node, and SCRIPT FLUSH is survived', async () => {
  const link = await upLink(cluster.url)
  assert.equal(link.publishCommand, 'SPUBLISH')
  for (let round = 1; round <= 2; round++) {
    const counts = await Promise.all(TAGS.map(tag => link.run(count, [`${tag}:n`], [1])))
    assert.deepEqual(counts, [round, round, round])
    for (const node of cluster.nodes) {
      const admin = new Redis(node.url)
      await admin.script('FLUSH')
      admin.disconnect()
    }
  }
  const checks = await link.check()
  assert.equal(checks.length, 3)
  assert.deepEqual(
    checks.flatMap(check => check.warnings),
    [],
  )
})

test('one node is enough to find the others', async () => {
  const link = await upLink(`redis+cluster://127.0.0.1:1,127.0.0.1:${cluster.nodes[1]!.port}`)
  const counts = await Promise.all(TAGS.map(tag => link.run(count, [`${tag}:one`], [1])))
  assert.deepEqual(counts, [1, 1, 1])
})

test('keys of two nodes in one call are refused by Redis, not sent anywhere else', async () => {
  const link = await upLink(cluster.url)
  const fault = await link.run(count, ['{a}:n', '{g}:n'], [1]).catch(error => error)
  assert.ok(fault instanceof RedisFault)
})

test('addresses are counted together wherever the slots of their keys are', async () => {
  const app = Fastify()
  const open = async () => {
    const shared = addressCounts({ link: await upLink(cluster.url), clock: systemClock })
    return new AddressLimiter({ name: 'c', max: 2, shared, clock: systemClock })
  }
  const [one, two] = [await open(), await open()]
  for (const limiter of [one, two]) app.register(async scope => limiter.install(scope))
  await app.ready()
  const addresses = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? `10.0.0.${i}` : `2001:db8:0:${i}::/64`))
  for (const address of addresses) {
    assert.equal(await one.count(address), undefined, address)
    assert.equal(await two.count(address), undefined, address)
    assert.ok((await one.count(address))! > 0, address)
  }
  await app.close()
})

test('a sharded hint, published by link or by script, reaches the subscriber on its node', async () => {
  const [link, other] = [await upLink(cluster.url), await upLink(cluster.url)]
  for (const tag of TAGS) {
    const heard: string[] = []
    other.subscribe(`${tag}:hints`, message => heard.push(message))
    await publishedUntilHeard(link, `${tag}:hints`, heard)
    await link.run(say, [tag], [link.publishCommand, 'from a script'])
    await until(() => heard.includes('from a script'), 'the hint of a script')
  }
})

test('a lost node takes down its keys only; back again, its keys and hints are served', async () => {
  const link = await upLink(cluster.url)
  const heard: string[] = []
  let downs = 0
  link.onDown(() => downs++)
  link.subscribe('{a}:back', message => heard.push(message))
  await publishedUntilHeard(link, '{a}:back', heard)
  const lost = cluster.nodes[2]!
  lost.pause()
  const start = performance.now()
  await assert.rejects(link.run(count, ['{a}:n'], [1]), RedisFault)
  assert.ok(performance.now() - start < 1_000)
  assert.equal(typeof (await link.run(count, ['{g}:n'], [1])), 'number')
  // Longer than a socket may owe an answer and than the cluster waits for a node.
  await until(
    async () => /CLUSTERDOWN|broke/.test(String(await link.run(count, ['{a}:n'], [1]).catch(String))),
    'x',
    8_000,
  )
  assert.equal(typeof (await link.run(count, ['{g}:n'], [1])), 'number')
  assert.equal(downs, 0)
  lost.resume()
  const counted = () =>
    link.run(count, ['{a}:n'], [1]).then(
      () => true,
      () => false,
    )
  await until(counted, 'its keys are served', 15_000)
  await publishedUntilHeard(link, '{a}:back', heard)
})

test('a cluster that is gone as a whole is told, and found again', async () => {
  const link = await upLink(cluster.url)
  const told: string[] = []
  link.onUp(() => told.push('up'))
  link.onDown(() => told.push('down'))
  for (const node of cluster.nodes) node.pause()
  await until(() => !link.isUp, 'it is down', 10_000)
  for (const node of cluster.nodes) node.resume()
  await until(() => link.isUp, 'it is up', 15_000)
  assert.deepEqual(told, ['down', 'up'])
  await until(
    () =>
      link.run(count, ['{a}:n'], [1]).then(
        () => true,
        () => false,
      ),
    'it serves',
    15_000,
  )
})

test('a server that is no cluster, called one, is told as such', async t => {
  const single = await startRedis()
  t.after(() => single.stop())
  const link = openLink(single.url.replace('redis:', 'redis+cluster:'))
  await until(() => /cluster support disabled/.test(link.trouble ?? ''), 'the reason')
  assert.ok(!link.isUp)
  await link.close()
})

test('a cluster called a server is warned of', async () => {
  const link = await upLink(cluster.nodes[0]!.url)
  assert.match((await link.check())[0]!.warnings.join(), /redis\+cluster:/)
})
