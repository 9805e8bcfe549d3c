// Which ledger, and which count of clients' limits: in memory without Redis, else shared through it.
import { readFileSync } from 'node:fs'
import type { Config } from './config/schema.ts'
import type { AnswerStore, Flights } from './gateway/answerPorts.ts'
import type { AddressCounts, ClientLimits } from './gateway/limitPorts.ts'
import type { Ledger } from './gateway/ports.ts'
import { MemoryAnswers } from './memory/answers.ts'
import { createMemoryLedger } from './memory/ledger.ts'
import { MemoryClientLimits } from './memory/limits.ts'
import { RoomKeeper } from './memory/roomKeeper.ts'
import { addressCounts } from './redis/addressCounts.ts'
import { RedisAnswers } from './redis/answers.ts'
import { connectRedis, type RedisLink } from './redis/connection.ts'
import { RedisFlights } from './redis/flights.ts'
import { createRedisLedger } from './redis/ledger.ts'
import { RedisClientLimits } from './redis/limits.ts'
import { newId, soon, systemClock, systemDice } from './system.ts'
import type { Logger } from './telemetry/log.ts'
import type { Metrics } from './telemetry/metrics.ts'

export interface BuiltLedger {
  ledger: Ledger
  limits: ClientLimits
  /** Absent: there are no other replicas to count with. */
  addresses?: AddressCounts
  /** For the `stale` fallback: where the ledger is. */
  answers: AnswerStore
  /** By which replicas share calls; absent: there are no other replicas. */
  flights?: Flights
  /** Where it is shared, without secrets. */
  redis: string | undefined
  close: () => Promise<void>
}

export async function buildLedger(config: Config, log: Logger, metrics: Metrics): Promise<BuiltLedger> {
  const { models, redis, stale } = config
  const admission = { ...config.admission, failures: config.breaker.failures }
  const ownLimits = new MemoryClientLimits(systemClock)
  if (!redis) {
    const ledger = createMemoryLedger(models, admission, systemClock)
    const answers = new MemoryAnswers(stale, systemClock)
    return { ledger, limits: ownLimits, answers, redis: undefined, close: async () => {} }
  }
  const link = connectRedis(
    redis.url,
    { ...redis, ca: redis.caFile && readFileSync(redis.caFile, 'utf8') },
    systemClock,
    systemDice,
  )
  const gateway = newId()
  const flights = new RedisFlights({ link, gateway, clock: systemClock })
  const ledger = createRedisLedger({
    link,
    models,
    admission,
    gateway,
    clock: systemClock,
    dice: systemDice,
    soon,
    makeStandIn: settings => new RoomKeeper(settings, systemClock),
    onCall: (model, call, ms, ok) => metrics.ledgerCalled(model, call, ms, ok),
    onTrouble(model, reason) {
      if (reason === undefined) log.info({ model, redis: link.address }, 'the ledger is shared through Redis')
      else log.warn({ model, redis: link.address, reason }, 'Redis is away: this gateway is on its own')
    },
  })
  const limits = new RedisClientLimits({
    link,
    standIn: ownLimits,
    clock: systemClock,
    soon,
    onCall: (call, ms, ok) => metrics.ledgerCalled('none', call, ms, ok),
  })
  await ledger.start()
  void warnOfRedis(link, log)
  return {
    ledger,
    limits,
    addresses: addressCounts({
      link,
      clock: systemClock,
      onCall: (call, ms, ok) => metrics.ledgerCalled('none', call, ms, ok),
    }),
    answers: new RedisAnswers(link, stale),
    flights,
    redis: link.address,
    async close() {
      await limits.close()
      await flights.close()
      await ledger.close()
      await link.close()
    },
  }
}

/** A Redis that may lose or refuse keys is said so once, at the start. */
async function warnOfRedis(link: RedisLink, log: Logger): Promise<void> {
  for (const { server, warnings } of await link.check())
    for (const warning of warnings) log.warn({ redis: link.address, server, warning }, 'Redis')
}
