// npm run bench:ledger: what the ledger's scripts cost a real Redis, in microseconds of its own time (INFO commandstats) and
// in calls a second over one connection with 64 in flight; with nobody waiting, and with 10,000 tickets of 5,000 flows.
import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { roomPrefix } from '../src/redis/keys.ts'
import { SCRIPTS } from '../src/redis/scripts.ts'
import { startRedis } from '../test/support/redisServer.ts'

const { values } = parseArgs({ options: { json: { type: 'string' } } })
const FLIGHT = 64
const CALLS = 20_000
const WAITING = 10_000
const FLOWS = 5_000
const CLIENTS = 50
const TOKENS = 2_000
const FAR_MS = 4e9
/** Nothing flows in while the room is full. */
const STILL_US = 1_800_000_000_000_000

interface Row {
  case: string
  calls: number
  /** Items or grants, where a call has several. */
  parts: number
  /** Of Redis's time, in all. */
  micros: number
  /** Of everybody's. */
  seconds: number
}

type Verb = keyof typeof SCRIPTS
type Arguments = (string | number)[]

const server = await startRedis()
const redis = new Redis(server.url)
const info = async (section: string) => await redis.info(section)
const rows: Row[] = []

async function spentMicros(): Promise<number> {
  return Number(/cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(await info('commandstats'))?.[1] ?? 0)
}

async function usedBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await info('memory'))![1])
}

function send(verb: Verb, args: Arguments, nowUs: number | ''): Promise<unknown> {
  return redis.evalsha(
    SCRIPTS[verb].sha,
    1,
    roomPrefix('bench'),
    nowUs,
    'gateway',
    ...(verb === 'acquire' ? [0, ...args] : args),
  )
}

interface Load {
  verb: Verb
  calls?: number
  nowUs?: (call: number) => number | ''
  args: (call: number) => Arguments
  /** Items or grants of all calls, from their replies; by default one a call. */
  parts?: (replies: [number, unknown[], string[]][]) => number
}

async function measure(name: string, load: Load): Promise<void> {
  const { verb, calls = CALLS, nowUs = () => '' as const, args, parts = replies => replies.length } = load
  const replies: [number, unknown[], string[]][] = []
  await redis.config('RESETSTAT')
  const startedNs = process.hrtime.bigint()
  let next = 0
  const work = async () => {
    while (next < calls) {
      const call = next++
      replies[call] = (await send(verb, args(call), nowUs(call))) as [number, unknown[], string[]]
    }
  }
  await Promise.all(Array.from({ length: FLIGHT }, work))
  const seconds = Number(process.hrtime.bigint() - startedNs) / 1e9
  const micros = await spentMicros()
  const row = rows.find(one => one.case === name) ?? { case: name, calls: 0, parts: 0, micros: 0, seconds: 0 }
  if (row.calls === 0) rows.push(row)
  row.calls += calls
  row.parts += parts(replies)
  row.micros += micros
  row.seconds += seconds
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

async function fresh(requestsPerMinute: number, tokensPerMinute: number, nowUs: number | '', pools = 1): Promise<void> {
  await redis.flushall()
  await configure('first', requestsPerMinute, tokensPerMinute, nowUs, pools)
}

async function configure(
  version: string,
  requests: number,
  tokens: number,
  nowUs: number | '',
  pools: number,
): Promise<void> {
  const quotas = Array.from({ length: pools }, (_, index) => [`pool${index}`, requests / pools, tokens / pools]).flat()
  await send('configure', [version, 0.05, 100_000, 100_000, 'PUBLISH', ...quotas], nowUs)
}

function ask(id: string, call: number, tokens = TOKENS): Arguments {
  const flow = call % FLOWS
  return [id, flow % 3, `client${flow % CLIENTS}`, 1 + (flow % 3), `user${flow}`, tokens, FAR_MS]
}

const asks = (kind: string, call: number, count: number) =>
  Array.from({ length: count }, (_, index) => ask(`${kind}${call}-${index}`, call * count + index)).flat()

/** A minute after the start its buckets are full. */
const later = () => STILL_US + 60_000_000

async function emptyRoom(): Promise<void> {
  await fresh(6e9, 6e13, STILL_US)
  await measure('warm-up', { verb: 'acquire', calls: 5_000, nowUs: later, args: call => ask(`w${call}`, call) })
  rows.length = 0
  // In turns, so that as many are in flight as might be.
  for (let from = 0; from < CALLS; from += 1_000) {
    const many = { calls: 1_000, nowUs: (call: number) => later() + (from + call) * 100 }
    const few = { calls: 125, nowUs: many.nowUs, parts: () => 1_000 }
    await measure('acquire, granted at once', { verb: 'acquire', ...many, args: call => ask(`a${from + call}`, call) })
    await measure('settle', { verb: 'settle', ...many, args: call => [`a${from + call}`, 1_500] })
    await measure('acquire, 8 a call', { verb: 'acquire', ...few, args: call => asks(`b${from}`, call, 8) })
    await measure('settle, 8 a call', {
      verb: 'settle',
      ...few,
      args: call => Array.from({ length: 8 }, (_, index) => [`b${from}${call}-${index}`, 1_500]).flat(),
    })
  }
  await measure('tick', { verb: 'tick', nowUs: later, args: () => [] })
  // The pool that throttled one rests for half a second: each call is a second after the one before.
  const apart = (call: number) => STILL_US + 120_000_000 + call * 1_000_000
  await measure('requeue, granted at once', { verb: 'requeue', calls: 5_000, nowUs: apart, args: call => [`w${call}`] })
}

async function fullRoom(pools: number): Promise<void> {
  const name = (what: string) => `${what}, 10 k wait, ${pools} pool${pools > 1 ? 's' : ''}`
  const nowUs = later
  await fresh(6e9, 6e13, STILL_US, pools)
  for (let call = 0; call < 150; call++) await send('acquire', asks('held', call, 100), later())
  await configure('second', 60_000, 60_000 * TOKENS, later(), pools)
  await send('drain', [], later())
  const before = await usedBytes()
  await measure(name('acquire, enqueued'), {
    verb: 'acquire',
    calls: WAITING,
    nowUs,
    args: call => ask(`q${call}`, call, call % 50 === 0 ? 300_000 : TOKENS),
  })
  const bytes = (await usedBytes()) - before
  rows.at(-1)!.case += ` (${Math.round(bytes / 1e5) / 10} MB)`
  await measure(name('acquire and cancel (acquire)'), {
    verb: 'acquire',
    calls: 5_000,
    nowUs,
    args: call => ask(`x${call}`, call),
  })
  await measure(name('acquire and cancel (cancel)'), {
    verb: 'cancel',
    calls: 5_000,
    nowUs,
    args: call => [`x${call}`],
  })
  await measure(name('tick, nothing to give'), { verb: 'tick', calls: 5_000, nowUs, args: () => [] })
  await measure(name('settle, nothing to give'), {
    verb: 'settle',
    calls: 5_000,
    nowUs,
    args: call => [`held${Math.floor(call / 100)}-${call % 100}`, TOKENS],
  })
  await measure(name('requeue, back in line'), {
    verb: 'requeue',
    calls: 5_000,
    nowUs,
    args: call => [`held${50 + Math.floor(call / 100)}-${call % 100}`],
  })
  // A millisecond gives one grant, ten give ten.
  for (const [grants, calls] of [
    [1, 3_000],
    [20, 300],
  ] as const) {
    const startUs = later() + (grants === 1 ? 0 : 60_000_000)
    await measure(name(`tick, about ${grants} granted`), {
      verb: 'tick',
      calls,
      nowUs: call => startUs + call * grants * 1_000,
      args: () => [],
      parts: replies => replies.reduce((sum, [, , grants]) => sum + grants.length / 2, 0),
    })
  }
}

await redis.flushall()
for (const { source } of Object.values(SCRIPTS)) await redis.script('LOAD', source)
await emptyRoom()
await fullRoom(1)
await fullRoom(3)
const table = rows.map(({ case: name, calls, parts, micros, seconds }) => ({
  case: name,
  calls,
  'µs a call': round(micros / calls),
  'µs each': round(micros / parts),
  'calls/s': Math.round(calls / seconds),
}))
console.table(table)
const machine = {
  cpu: os.cpus()[0]?.model,
  cores: os.cpus().length,
  redis: /(?:redis|valkey)_version:(\S+)/.exec(await info('server'))?.[1],
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine, rows: table }, null, 2)}\n`)
redis.disconnect()
await server.stop()
