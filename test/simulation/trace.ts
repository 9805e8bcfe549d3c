// Real arrivals: an hour of calls to a language model service (Azure, 2023; Patel et al., "Splitwise", ISCA 2024; CC-BY), played
// faster or slower until they ask for a given part of the quota. The data stays where it is, ../shared/data: none of it is here.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Cluster, type Quota } from './cluster.ts'
import { type Figures, percentile, sum } from './figures.ts'
import type { Outcome, RunOptions } from './outcome.ts'
import type { Size } from './requests.ts'
import { type Account, newAccount, type Source, sendOne } from './sources.ts'

const FILE = fileURLToPath(new URL('../../../shared/data/traces/azure-llm-conversation-2023.csv', import.meta.url))
const QUOTAS: Quota[] = [
  { requestsPerMinute: 300, tokensPerMinute: 300_000 },
  { requestsPerMinute: 300, tokensPerMinute: 300_000 },
]
/** The trace names nobody, so its calls are dealt to clients whose shares of them differ, and to users of those. */
const CLIENTS = [
  { name: 'busy', part: 0.6 },
  { name: 'medium', part: 0.3 },
  { name: 'modest', part: 0.1 },
]
const USERS = 10
const MAX_WAIT_MS = 60_000
/** Apps set the cap of an answer with room to spare. */
const CAPS = [256, 512, 1024, 2048]
const OUTPUT_BURNDOWN = 5

interface TracedCall {
  atMs: number
  size: Size
}

export function hasTrace(): boolean {
  return existsSync(FILE)
}

export function traceMissing(): string {
  return `no trace at ${FILE}: nothing to play`
}

/** `load`: what the trace asks for, as a part of the pools' sustained quota. */
export function runTrace(load: number, { seed, gateways }: RunOptions): Outcome {
  const cluster = new Cluster({ seed, quotas: QUOTAS, gateways })
  const { time } = cluster
  const calls = readTrace()
  const askedS = sum(calls.map(call => cluster.costS(call.size.chargedTokens)))
  const durationS = askedS / load
  const stretch = (durationS * 1000) / calls.at(-1)!.atMs
  const accounts = CLIENTS.map(client => newAccount(sourceOf(client.name)))
  for (const { atMs, size } of calls) {
    const account = drawn(accounts, time.chance.next())
    time.after(atMs * stretch, () => sendOne(cluster, account, () => {}, size))
  }
  const { broken, conservation } = cluster.run(durationS)
  const figures = { ...measure(accounts, durationS), ...conservation }
  return { figures, broken, accounts, durationS }
}

function readTrace(): TracedCall[] {
  const [, ...lines] = readFileSync(FILE, 'utf8').trim().split('\n')
  const rows = lines.map(line => line.split(','))
  const startMs = Date.parse(`${rows[0]![0]!.replace(' ', 'T').slice(0, 23)}Z`)
  return rows.map(([stamp, context, generated]) => ({
    atMs: Date.parse(`${stamp!.replace(' ', 'T').slice(0, 23)}Z`) - startMs,
    size: sizeOf(Number(context), Number(generated)),
  }))
}

function sizeOf(input: number, output: number): Size {
  const cap = CAPS.find(one => one >= output) ?? output
  return {
    reservedTokens: input + cap,
    chargedTokens: input + OUTPUT_BURNDOWN * output,
    durationMs: 400 + 12 * output,
  }
}

function sourceOf(name: string): Source {
  return {
    name,
    group: name,
    rank: 1,
    client: name,
    weight: 1,
    user: chance => `${name}-${chance.below(USERS)}`,
    draw: () => {
      throw new Error('sizes come from the trace')
    },
    maxWaitMs: MAX_WAIT_MS,
    demand: { kind: 'backlogged', waiting: 0 },
  }
}

function drawn(accounts: Account[], chance: number): Account {
  let left = chance
  for (const [i, { part }] of CLIENTS.entries()) {
    left -= part
    if (left < 0) return accounts[i]!
  }
  return accounts.at(-1)!
}

function measure(accounts: Account[], durationS: number): Figures {
  const figures: Figures = {}
  for (const { source, served, endings, sent } of accounts) {
    const waits = served.map(one => one.waitMs / 1000)
    figures[`${source.name} sent`] = sent
    figures[`${source.name} share`] = sum(served.map(one => one.costS)) / durationS
    figures[`${source.name} p50 s`] = percentile(waits, 0.5)
    figures[`${source.name} p99 s`] = percentile(waits, 0.99)
    figures[`${source.name} refused %`] = (100 * (endings.refused.length + endings['timed-out'].length)) / sent
  }
  figures.use =
    sum(accounts.flatMap(one => one.served.filter(turn => turn.atMs <= durationS * 1000).map(turn => turn.costS))) /
    durationS
  return figures
}
