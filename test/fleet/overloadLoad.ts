// The load of `overload.ts`, in a process of its own: first `high` requests alone, then everybody at once, then `high` alone
// again until things are as they were. What it saw goes to standard output as JSON.
import http from 'node:http'
import type { LoadFigures, LoadPlan } from './overload.ts'

const plan = JSON.parse(process.argv[2]!) as LoadPlan
const BODY = JSON.stringify({
  messages: [{ role: 'user', content: [{ text: 'Tell me a story about a sluice. '.repeat(30) }] }],
  inferenceConfig: { maxTokens: 200 },
})
const PATH = '/model/anthropic.claude-test-v1%3A0/converse'
const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
/** Nobody waits longer before coming back. */
const LONGEST_PAUSE_MS = 2_000
const LONGEST_RECOVERY_MS = 30_000
/** So many good answers in a row are a recovery. */
const GOOD_IN_A_ROW = 10

interface Reply {
  /** 0: no answer, or a broken one. */
  status: number
  headers: http.IncomingHttpHeaders
  text: string
  ms: number
}

function call(priority: string): Promise<Reply> {
  const startMs = performance.now()
  return new Promise(resolve => {
    const end = (status: number, headers: http.IncomingHttpHeaders, text: string) =>
      resolve({ status, headers, text, ms: performance.now() - startMs })
    const headers = { 'content-type': 'application/json', 'x-sluice-priority': priority, 'x-sluice-user': priority }
    const request = http.request(plan.url, { method: 'POST', path: PATH, agent, headers }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => {
        text += part
      })
      response.on('error', () => {})
      response.on('close', () => end(response.complete ? response.statusCode! : 0, response.headers, text))
    })
    request.on('error', error => end(0, {}, error.message))
    request.end(BODY)
  })
}

const EXCEPTIONS: Record<number, string> = { 429: 'ThrottlingException', 503: 'ServiceUnavailableException' }

/** What an SDK could not make sense of; undefined: a refusal as it should be. */
function fault({ status, headers, text }: Reply): string | undefined {
  if (status === 0) return `no answer: ${text}`
  const ms = Number(headers['retry-after-ms'])
  const { message } = JSON.parse(text) as { message?: string }
  if (!EXCEPTIONS[status] || !String(headers['x-amzn-errortype']).startsWith(EXCEPTIONS[status])) return `${status}`
  if (!message || !headers['x-sluice-refusal'] || !headers['x-amzn-requestid']) return `${status} without its fields`
  if (!(ms > 0) || headers['x-amz-retry-after'] !== String(ms)) return `${status} without a time to come back`
  return headers['retry-after'] === String(Math.ceil(ms / 1000)) ? undefined : `${status} with hints that differ`
}

const figures: LoadFigures = {
  unloaded: { p50Ms: 0, p99Ms: 0, count: 0 },
  loaded: { p50Ms: 0, p99Ms: 0, count: 0 },
  answered: { high: 0, normal: 0, low: 0 },
  refused: {},
  malformed: {},
  recoverySeconds: null,
}

/** One client, one request after the other until `untilMs`; comes back when it is told to. */
async function client(priority: 'high' | 'normal' | 'low', untilMs: number, latenciesMs: number[]): Promise<void> {
  while (performance.now() < untilMs) {
    const reply = await call(priority)
    if (reply.status === 200) {
      figures.answered[priority] += 1
      if (priority === 'high') latenciesMs.push(reply.ms)
      continue
    }
    const wrong = fault(reply)
    if (wrong) figures.malformed[wrong] = (figures.malformed[wrong] ?? 0) + 1
    const code = `${priority} ${reply.status} ${reply.headers['x-sluice-refusal']}`
    figures.refused[code] = (figures.refused[code] ?? 0) + 1
    await pause(Math.min(Number(reply.headers['retry-after-ms']) || 100, LONGEST_PAUSE_MS))
  }
}

function clients(count: number, priority: 'high' | 'normal' | 'low', seconds: number, latenciesMs: number[] = []) {
  const untilMs = performance.now() + seconds * 1000
  return Promise.all(Array.from({ length: count }, () => client(priority, untilMs, latenciesMs)))
}

function quantiles(latenciesMs: number[]): LoadFigures['unloaded'] {
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50Ms: at(0.5), p99Ms: at(0.99), count: sorted.length }
}

/** Seconds until `high` requests are served as fast as without load, one after the other; null: not at all. */
async function recovery(withinMs: number): Promise<number | null> {
  const startMs = performance.now()
  let good = 0
  let goodSinceMs = 0
  while (performance.now() - startMs < LONGEST_RECOVERY_MS) {
    const sentMs = performance.now()
    const reply = await call('high')
    if (reply.status !== 200 || reply.ms > withinMs) good = 0
    else {
      if (good === 0) goodSinceMs = sentMs
      good += 1
    }
    if (good === GOOD_IN_A_ROW) return Math.round(goodSinceMs - startMs) / 1000
    if (reply.status !== 200) await pause(50)
  }
  return null
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

const high = Math.max(1, Math.round(plan.clients * 0.02))
const normal = Math.round(plan.clients * 0.4)
await clients(high, 'high', 2)
const unloaded: number[] = []
await clients(high, 'high', plan.unloadedSeconds, unloaded)
figures.unloaded = quantiles(unloaded)
figures.answered.high = 0
const loaded: number[] = []
await Promise.all([
  clients(high, 'high', plan.seconds, loaded),
  clients(normal, 'normal', plan.seconds),
  clients(plan.clients - high - normal, 'low', plan.seconds),
])
figures.loaded = quantiles(loaded)
figures.recoverySeconds = await recovery(2 * figures.unloaded.p99Ms)
agent.destroy()
process.stdout.write(`${JSON.stringify(figures)}\n`)
