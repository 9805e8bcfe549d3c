// Gateways that share a real Redis, each over a link that a test can cheat: calls held up, replies lost or false, hints
// dropped, Redis's clock moved.
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/domain/clock.ts'
import type { ModelSettings } from '../../src/domain/model.ts'
import type { AdmissionSettings } from '../../src/gateway/ports.ts'
import { RoomKeeper } from '../../src/memory/roomKeeper.ts'
import type { RedisLink } from '../../src/redis/connection.ts'
import { createRedisLedger, type RedisLedger } from '../../src/redis/ledger.ts'
import type { Script, ScriptReply } from '../../src/redis/script.ts'
import { newId, soon, systemClock, systemDice } from '../../src/system.ts'
import { LedgerBench, type Trial } from '../contract/ledgerBench.ts'
import { openLink } from '../support/redisLinks.ts'
import { until } from '../support/wire.ts'

export const AWAY_MS = 10_000

export class FaultyLink implements RedisLink {
  /** Names of the scripts that were called. */
  readonly calls: string[] = []
  /** Calls without a reply yet. */
  pending = 0
  /** May hold a call up before it is sent. */
  before: (name: string) => Promise<void> | void = () => {}
  /** May hold up, replace or lose the reply of a script that has run. */
  reply: (name: string, reply: ScriptReply) => Promise<ScriptReply> | ScriptReply = (_name, reply) => reply
  hearsHints = true
  /** How much later Redis takes it to be than it is. */
  laterMs = 0
  readonly #link: RedisLink

  constructor(link: RedisLink) {
    this.#link = link
  }

  get address() {
    return this.#link.address
  }

  get isUp() {
    return this.#link.isUp
  }

  get trouble() {
    return this.#link.trouble
  }

  get publishCommand() {
    return this.#link.publishCommand
  }

  async run(script: Script, keys: string[], args: (string | number | Buffer)[]): Promise<ScriptReply> {
    this.calls.push(script.name)
    this.pending += 1
    try {
      await this.before(script.name)
      const [now, ...rest] = args
      const shifted = this.laterMs > 0 && now === '' ? (systemClock.nowMs() + this.laterMs) * 1000 : now
      const sent = now === undefined ? [] : [shifted!, ...rest]
      return await this.reply(script.name, await this.#link.run(script, keys, sent))
    } finally {
      this.pending -= 1
    }
  }

  publish(channel: string, message: string) {
    return this.#link.publish(channel, message)
  }

  subscribe(channel: string, hear: (message: string) => void) {
    return this.#link.subscribe(channel, message => this.hearsHints && hear(message))
  }

  onUp(task: () => void) {
    return this.#link.onUp(task)
  }

  onDown(task: (reason: string) => void) {
    return this.#link.onDown(task)
  }

  check() {
    return this.#link.check()
  }

  close() {
    return this.#link.close()
  }

  /** Does `what` at the next call of the script, and never again. */
  once(name: string, what: (reply: ScriptReply) => Promise<ScriptReply> | ScriptReply): void {
    this.reply = (called, reply) => {
      if (called !== name) return reply
      this.reply = (_name, later) => later
      return what(reply)
    }
  }
}

export interface SharedTrial extends Trial {
  links: FaultyLink[]
  ledgers: RedisLedger[]
  /** What each gateway was told of its troubles. */
  troubles: (string | undefined)[][]
}

/** So many gateways on the Redis at `url`; `clocks` replaces the system's for those it names. */
export function sharedTrial(t: TestContext, url: string, gateways: number, clocks: Clock[] = []): SharedTrial {
  const links = Array.from({ length: gateways }, () => new FaultyLink(openLink(url)))
  const trial: SharedTrial = {
    links,
    ledgers: [],
    troubles: links.map(() => []),
    after: task => t.after(task),
    async open(models, admission) {
      trial.ledgers = links.map((link, i) =>
        openLedger(link, models, admission, clocks[i] ?? systemClock, reason => trial.troubles[i]!.push(reason)),
      )
      const closeLinks = () => Promise.all(links.map(link => link.close()))
      t.after(closeLinks)
      await Promise.all(trial.ledgers.map(ledger => ledger.start()))
      return {
        ledgers: trial.ledgers,
        close() {
          for (const ledger of trial.ledgers) void ledger.close()
        },
      }
    },
  }
  return trial
}

export function openLedger(
  link: RedisLink,
  models: ModelSettings[],
  admission: AdmissionSettings,
  clock: Clock = systemClock,
  onTrouble: (reason: string | undefined) => void = () => {},
): RedisLedger {
  return createRedisLedger({
    link,
    models,
    admission,
    gateway: newId(),
    clock,
    dice: systemDice,
    soon,
    makeStandIn: settings => new RoomKeeper(settings, clock),
    onTrouble: (_model, reason) => onTrouble(reason),
  })
}

export interface Opened {
  trial: SharedTrial
  bench: LedgerBench
}

/** With empty buckets, whose content the last gateway holds. */
export async function opened(t: TestContext, url: string, gateways = 2): Promise<Opened> {
  const trial = sharedTrial(t, url, gateways)
  return { trial, bench: await LedgerBench.emptied(trial) }
}

export async function isAlone({ trial }: Pick<Opened, 'trial'>, ...which: number[]): Promise<void> {
  for (const i of which) await until(() => trial.ledgers[i]!.health().degraded !== undefined, `${i} is alone`, AWAY_MS)
}

export async function isBack({ trial }: Pick<Opened, 'trial'>): Promise<void> {
  await until(() => trial.ledgers.every(one => one.health().degraded === undefined), 'all are back', AWAY_MS)
}
