// What gateways tell of pools, and what is told of them, as scripts/report.lua and steer.lua have it.
import type { PoolCounts, PoolNews, PoolReport, Report, Steering } from '../domain/poolReport.ts'
import { RedisFault } from './fault.ts'
import type { ScriptReply } from './script.ts'

export function newsArgs(news: PoolNews[]): (string | number)[] {
  return news.flatMap(({ pool, counts: c, failedInRow, youngestGoodMs }) => [
    pool,
    c.sent,
    c.accepted,
    c.throttledRequests,
    c.throttledTokens,
    c.throttledUnclear,
    c.succeeded,
    c.failed,
    c.tokens,
    failedInRow,
    youngestGoodMs ?? '',
  ])
}

export function steeringArgs({ state, pools }: Steering): (string | number)[] {
  const changes = pools.flatMap(({ pool, believed, gate, failures }) => [
    pool,
    believed.requestsPerMinute ?? '',
    believed.tokensPerMinute ?? '',
    gate ?? '',
    failures ?? '',
  ])
  return [state, ...changes]
}

export function readReport(reply: ScriptReply): Report {
  if (!Array.isArray(reply) || !Array.isArray(reply[2]) || !Array.isArray(reply[3]))
    throw new RedisFault('reply', 'report: expected a time, a state and two lists')
  const [nowMs, state, flat, rows] = reply as [string, string, (string | number)[], ScriptReply[][]]
  const gates: Report['gates'] = []
  for (let at = 0; at < flat.length; at += 2) gates.push({ pool: String(flat[at]), gate: Number(flat[at + 1]) })
  const report = { nowMs: Number(nowMs), state: String(state), gates }
  return rows.length > 0 ? { ...report, pools: rows.map(readPool) } : report
}

function readPool([pool, ...rest]: ScriptReply[]): PoolReport {
  const figures = rest.map(Number)
  const [failedInRow, gate, requestsLimit, tokensLimit, requests, tokens] = figures.slice(8) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return {
    pool: String(pool),
    counts: readCounts(figures),
    failedInRow,
    gate,
    limited: { requests: requestsLimit === 1, tokens: tokensLimit === 1 },
    fill: { requests, tokens },
  }
}

function readCounts(figures: number[]): PoolCounts {
  const [sent, accepted, throttledRequests, throttledTokens, throttledUnclear, succeeded, failed, tokens] = figures as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return { sent, accepted, throttledRequests, throttledTokens, throttledUnclear, succeeded, failed, tokens }
}
