// The contract, held by every ledger there is: in memory, and shared by two gateways over Redis, Valkey and a Redis Cluster.
import { after, before, describe, test } from 'node:test'
import type { ModelSettings } from '../../src/domain/model.ts'
import type { AdmissionSettings } from '../../src/gateway/ports.ts'
import { createMemoryLedger } from '../../src/memory/ledger.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { systemClock } from '../../src/system.ts'
import { openLedger } from '../redis/sharedBench.ts'
import { findValkey } from '../support/redisBinary.ts'
import { startRedisCluster } from '../support/redisCluster.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis, startValkey } from '../support/redisServer.ts'
import type { Gateways, LedgerKind } from './ledgerBench.ts'
import { ledgerContract } from './ledgerContract.ts'

const GATEWAYS = 2
/** Tests of one kind do not meet: each has a model of its own. */
const TOGETHER = { concurrency: 8 }

describe('in memory', TOGETHER, () => {
  const kind: LedgerKind = {
    open: async (models, admission) => ({
      ledgers: [createMemoryLedger(models, admission, systemClock)],
      close() {},
    }),
  }
  ledgerContract(() => kind)
})

describe('Redis', TOGETHER, () => shared(startRedis))
if (findValkey()) describe('Valkey', TOGETHER, () => shared(startValkey))
else test('Valkey', { skip: 'no valkey-server on the PATH' }, () => {})
describe('Redis Cluster', TOGETHER, () => shared(startRedisCluster))

function shared(start: () => Promise<{ url: string; stop(): Promise<void> } | undefined>): void {
  let server: Awaited<ReturnType<typeof start>>
  let links: RedisLink[] = []
  before(async () => {
    server = await start()
    const { url } = server ?? {}
    // So long that a busy machine does not look like an absent Redis.
    if (url) links = await Promise.all(Array.from({ length: GATEWAYS }, () => upLink(url, { commandTimeoutMs: 5_000 })))
  })
  after(async () => {
    await Promise.all(links.map(link => link.close()))
    await server?.stop()
  })
  ledgerContract(() => ({ open: (models, admission) => openShared(links, models, admission) }))
}

async function openShared(
  links: RedisLink[],
  models: ModelSettings[],
  admission: AdmissionSettings,
): Promise<Gateways> {
  const ledgers = links.map(link => openLedger(link, models, admission))
  await Promise.all(ledgers.map(ledger => ledger.start()))
  return {
    ledgers,
    close() {
      for (const ledger of ledgers) void ledger.close()
    },
  }
}
