// What addresses do, counted by the scripts that @fastify/rate-limit brings, over the ledger's own link: its timeouts, its
// knowledge of whether Redis is there, its Cluster. One key a call, and each expires with its minute.
import type { Clock } from '../domain/clock.ts'
import type { AddressCounts } from '../gateway/limitPorts.ts'
import type { RedisLink } from './connection.ts'
import { addressKey } from './keys.ts'
import { defineScript, type Script, type ScriptReply } from './script.ts'

export interface AddressCountsParts {
  link: RedisLink
  clock: Clock
  /** Told of each call to Redis that has ended. */
  onCall?: (call: string, ms: number, ok: boolean) => void
}

type Done = (error: unknown, reply?: ScriptReply) => void

export function addressCounts(parts: AddressCountsParts): AddressCounts {
  const commands: Record<string, unknown> = {
    defineCommand(name: string, { lua }: { lua: string }) {
      const script = defineScript(name, lua)
      commands[name] = (key: string, ...rest: unknown[]) => {
        const done = rest.pop() as Done
        run(parts, script, key, rest.map(String)).then(reply => done(null, reply), done)
      }
    },
  }
  return {
    get isUp() {
      return parts.link.isUp
    },
    commands,
  }
}

async function run({ link, clock, onCall }: AddressCountsParts, script: Script, key: string, args: string[]) {
  const beganMs = clock.nowMs()
  let ok = false
  try {
    const reply = await link.run(script, [addressKey(key)], args)
    ok = true
    return reply
  } finally {
    onCall?.('address', Math.max(0, clock.nowMs() - beganMs), ok)
  }
}
