// Stores of limits over a test's Redis, in virtual time; a stand-in that is asked by mistake fails the test.

import { Redis } from 'ioredis'
import type { Clock } from '../../src/domain/clock.ts'
import type { ClientLimits } from '../../src/gateway/limitPorts.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { LIMIT_SCRIPTS } from '../../src/redis/limitScripts.ts'
import { RedisClientLimits } from '../../src/redis/limits.ts'

const NO_STAND_IN: ClientLimits = {
  take() {
    throw new Error('Redis was asked in vain')
  },
  keep() {},
  async close() {},
}

/** Settlements go out at once, so that they arrive before what is asked next. */
export function openLimits(link: RedisLink, clock: Clock, standIn = NO_STAND_IN): RedisClientLimits {
  return new RedisClientLimits({ link, standIn, clock, soon: task => task(), nowMs: () => clock.nowMs() })
}

/** Known beforehand, a script runs in the order it was sent; otherwise its source is sent after what came next. */
export async function loadLimitScripts(urls: string[]): Promise<void> {
  const { take, settle, renew } = LIMIT_SCRIPTS
  for (const url of urls) {
    const redis = new Redis(url)
    for (const { source } of [...Object.values(take), ...Object.values(settle), renew])
      await redis.script('LOAD', source)
    redis.disconnect()
  }
}
