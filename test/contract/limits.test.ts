// The contract of clients' limits, held by every store there is: in memory, and shared through Redis, Valkey and a Cluster.
import { after, before, describe, test } from 'node:test'
import { MemoryClientLimits } from '../../src/memory/limits.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { loadLimitScripts, openLimits } from '../redis/limitsBench.ts'
import { findValkey } from '../support/redisBinary.ts'
import { startRedisCluster } from '../support/redisCluster.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, startValkey } from '../support/redisServer.ts'
import { limitsContract } from './limitsContract.ts'

describe('limits in memory', () => limitsContract(() => ({ open: clock => new MemoryClientLimits(clock) })))
describe('limits in Redis', () => shared(startRedis))
if (findValkey()) describe('limits in Valkey', () => shared(startValkey))
else test('limits in Valkey', { skip: 'no valkey-server on the PATH' }, () => {})
describe('limits in a Redis Cluster', () => shared(startRedisCluster))

interface TestServer {
  url: string
  /** Of a Cluster. */
  nodes?: { url: string }[]
  stop(): Promise<void>
}

function shared(start: () => Promise<TestServer | undefined>): void {
  let server: TestServer | undefined
  let link: RedisLink | undefined
  before(async () => {
    server = await start()
    if (server) await loadLimitScripts(server.nodes?.map(node => node.url) ?? [server.url])
    // So long that a busy machine does not look like an absent Redis.
    if (server) link = await upLink(server.url, { commandTimeoutMs: 5_000 })
  })
  after(async () => {
    await link?.close()
    await server?.stop()
  })
  limitsContract(() => ({ open: clock => openLimits(link!, clock) }))
}
