// The waiting room in Lua and the one in TypeScript are twins: random histories through both give the same replies, levels,
// tags and orders, to the last digit. SEED replays one history.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { Redis } from 'ioredis'
import type { ClientLine } from '../../src/domain/clientLine.ts'
import { readReport } from '../../src/redis/boardCalls.ts'
import { roomPrefix } from '../../src/redis/keys.ts'
import { readSnapshot } from '../../src/redis/roomStatus.ts'
import type { ScriptReply } from '../../src/redis/script.ts'
import { SCRIPTS } from '../../src/redis/scripts.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { startRedis, type TestRedis } from '../support/redisServer.ts'
import { History } from './twinHistory.ts'
import { type Call, type Reply, TwinRoom, type Verb } from './twinRoom.ts'

const HISTORIES = 64
const CALLS = 1_600
/** So many calls go out together. */
const BLOCK = 100
/** A snapshot after every so many calls. */
const SNAPSHOT_EVERY = 10
const ALL = 100_000

let server: TestRedis
let redis: Redis
before(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  for (const { source } of Object.values(SCRIPTS)) await redis.script('LOAD', source)
})
after(async () => {
  redis.disconnect()
  await server.stop()
})

/** What is asked of Redis, and what the engine says to it. */
interface Step {
  what: () => string
  command: [string, ...(string | number)[]]
  read: (reply: unknown) => unknown
  expected: unknown
}

class Twins {
  readonly #prefix: string
  readonly #twin: TwinRoom
  readonly seed: number
  #steps: Step[] = []
  #count = 0

  constructor(seed: number, first: Call) {
    this.seed = seed
    this.#prefix = roomPrefix(`twins-${seed}`)
    this.#twin = new TwinRoom(first)
    this.#expect(first, [-1, [1], []])
  }

  /** The engine's reply; Redis's is compared by `check`. */
  call(call: Call): Reply {
    const reply = plain(this.#twin.call(call))
    this.#expect(call, reply)
    if (this.#count % SNAPSHOT_EVERY === 0) this.#compareSnapshots(call.nowUs)
    return reply
  }

  #expect(call: Call, expected: Reply): void {
    const { verb, nowUs, gateway, args } = call
    this.#count += 1
    const count = this.#count
    this.#steps.push({
      what: () => `call ${count}: ${JSON.stringify(call)}`,
      command: ['evalsha', SCRIPTS[verb].sha, 1, this.#prefix, nowUs, gateway, ...args],
      read: reply => (verb === 'report' ? withReport(reply as Reply) : reply),
      expected,
    })
  }

  #compareSnapshots(nowUs: number): void {
    const count = this.#count
    this.#steps.push({
      what: () => `the state after call ${count}`,
      command: ['evalsha', SCRIPTS.status.sha, 1, this.#prefix, nowUs, 'nobody', ALL],
      read: reply => plain(readSnapshot(reply as ScriptReply)),
      expected: plain(this.#twin.room.snapshot(ALL, nowUs / 1000)),
    })
  }

  /** Who comes first, among clients, heads and idle users, and behind each head. */
  #compareOrders(): void {
    this.#compareSet('departed-order', this.#twin.room.departed.names(), named => named.map(([name]) => name))
    for (const [rank, queue] of this.#twin.room.queues.entries()) {
      this.#compareSet(`small:${rank}`, queue.small.entries())
      this.#compareSet(`large:${rank}`, queue.large.entries())
      for (const client of queue.clients.values()) this.#compareClient(client, rank)
    }
  }

  #compareClient(client: ClientLine, rank: number): void {
    const heads = new Map([...client.users.values()].map(user => [user.tickets[0]!.key, user.tickets[0]!.id]))
    const named = (entries: [string, number][]) => entries.map(([key, score]) => [`${key}${heads.get(key)}`, score])
    this.#compareSet(`small:${rank}:${client.name}`, named(client.small.entries()))
    this.#compareSet(`large:${rank}:${client.name}`, named(client.large.entries()))
    this.#compareSet(`idle:${rank}:${client.name}`, client.idle.entries())
    for (const user of client.users.values()) {
      const behind = user.tickets.slice(1).map(ticket => [ticket.id, Number(ticket.key)])
      this.#compareSet(`line:${rank}:${client.name.length}:${client.name}:${user.name}`, behind)
    }
  }

  #compareSet(
    name: string,
    expected: unknown[],
    read: (found: [string, number][]) => unknown[] = found => found,
  ): void {
    const count = this.#count
    this.#steps.push({
      what: () => `${name} after call ${count}`,
      command: ['zrange', `${this.#prefix}${name}`, 0, -1, 'WITHSCORES'],
      read: reply => read(pairs(reply as string[])),
      expected: plain(expected),
    })
  }

  async check(): Promise<void> {
    this.#compareOrders()
    const pipeline = redis.pipeline()
    for (const { command } of this.#steps) pipeline.call(...command)
    const replies = (await pipeline.exec())!
    for (const [index, { what, expected, read }] of this.#steps.entries()) {
      const [error, reply] = replies[index]!
      const found = error ? error.message : read(reply)
      if (isDeepStrictEqual(found, expected)) continue
      // Only now: words for each of a hundred thousand calls would take longer than the calls.
      assert.deepEqual(found, expected, `SEED=${this.seed}, ${what()}`)
    }
    this.#steps = []
  }
}

function withReport([napMs, [report], grants]: Reply): Reply {
  return [napMs, [plain(readReport(report as ScriptReply))], grants]
}

/** −0 is 0. */
function plain<Value>(value: Value): Value {
  if (typeof value === 'number') return (value + 0) as Value
  if (Array.isArray(value)) return value.map(plain) as Value
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)])) as Value
}

function pairs(flat: string[]): [string, number][] {
  return flat.flatMap((name, index) => (index % 2 === 0 ? [[name, plain(Number(flat[index + 1]))]] : [])) as [
    string,
    number,
  ][]
}

test('random histories give the same replies and the same state in Lua and in TypeScript', async t => {
  const given = process.env.SEED
  const fresh = Number(process.hrtime.bigint() % 1_000_000_000n)
  const seeds = given ? [Number(given)] : [...Array.from({ length: HISTORIES - 1 }, (_, index) => index + 1), fresh]
  if (!given) t.diagnostic(`fresh seed: SEED=${fresh}`)
  for (const seed of seeds) {
    const history = new History(seededDice(seed))
    const twins = new Twins(seed, history.first())
    for (let made = 0; made < CALLS; made++) {
      const call = history.next()
      history.heard(call, twins.call(call))
      if (made % BLOCK === BLOCK - 1) await twins.check()
    }
    await redis.flushall()
  }
})

test('many who are gone are cleared up in the same order, some at each tick', async () => {
  const call = (verb: Verb, atMs: number, gateway: string, args: (string | number)[]): Call => {
    return { verb, nowUs: 1_764_000_000_000_000 + atMs * 1_000, gateway, args }
  }
  const twins = new Twins(0, call('configure', 0, 'gw1', ['v1', 0.05, 1_000, 1_000, 'PUBLISH', 5, 'only', 60, 6_000]))
  for (let index = 0; index < 420; index++) {
    const gateway = `gw${1 + (index % 2)}`
    const ask = [
      0,
      `t${index}`,
      1,
      'app',
      1,
      `u${index % 7}`,
      10 + index,
      index % 2 === 0 ? 1_000 + index : 600_000,
      '',
    ]
    twins.call(call('acquire', index, gateway, ask))
  }
  const left = []
  for (let tick = 1; tick < 40; tick++) left.push(twins.call(call('tick', 500 * tick, 'gw1', [])))
  await twins.check()
  assert.equal(left.at(-1)![0], -1)
})
