// Every metric's name, labels and meaning. Labels are bounded: models, pools, operations and codes come from config or code,
// never from a request. docs/metrics.md lists them; a test compares.
import { Counter, Registry } from 'prom-client'
import type { Refusal } from '../domain/refusal.ts'
import type { Retry } from '../gateway/gateway.ts'
import type { FallbackKind, Finished, ModelStatus } from '../gateway/ports.ts'
import { ClientMetrics } from './clientMetrics.ts'
import { BUCKETS, Histogram, type Tally } from './histogram.ts'
import { openMetricsText, wantsOpenMetrics } from './openMetrics.ts'
import { ProcessMetrics } from './processMetrics.ts'
import { PushbackMetrics } from './pushbackMetrics.ts'
import { registerRoomGauges } from './roomMetrics.ts'
import { StageMetrics } from './stageMetrics.ts'

const NOTHING = { requests: 0, sends: 0, reserved: 0, charged: 0, input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }

/** What counters gain between two scrapes. prom-client hashes labels at every increment; this is one look-up a request. */
type Account = typeof NOTHING & {
  labels: Record<'model' | 'operation' | 'pool' | 'priority' | 'outcome' | 'status', string | number>
  duration: Tally
  wait?: Tally
  firstByte?: Tally
}

export class Metrics {
  readonly #registry = new Registry()
  readonly pushback = new PushbackMetrics(this.#registry)
  readonly process = new ProcessMetrics(this.#registry)
  readonly #clients = new ClientMetrics(this.#registry)
  readonly stages = new StageMetrics(this.#registry, () => this.#status)
  readonly #accounts = new Map<string, Account>()
  readonly #requests = this.#counter('sluice_requests_total', 'Invocations ended, by outcome.', [
    'model',
    'operation',
    'pool',
    'priority',
    'outcome',
    'status',
  ])
  readonly #refusals = this.#counter('sluice_refusals_total', 'Refusals, by code.', ['model', 'operation', 'code'])
  readonly #limitRefusals = this.#counter(
    'sluice_client_limit_refusals_total',
    "Refusals by a client's own limits, by limit.",
    ['client', 'limit'],
  )
  readonly #fallbacks = this.#counter(
    'sluice_fallbacks_total',
    "Answers given in place of Bedrock's, by what was wrong.",
    ['model', 'kind', 'reason'],
  )
  readonly #tokens = this.#counter('sluice_tokens_total', 'Tokens that Bedrock reported, by kind.', [
    'model',
    'pool',
    'kind',
  ])
  readonly #charged = this.#counter('sluice_charged_tokens_total', 'Quota tokens charged at settlement.', [
    'model',
    'pool',
  ])
  readonly #reserved = this.#counter('sluice_reserved_tokens_total', 'Quota tokens reserved at admission.', [
    'model',
    'pool',
  ])
  readonly #sends = this.#counter('sluice_upstream_sends_total', 'Calls sent to Bedrock.', ['model', 'pool'])
  readonly #throttles = this.#counter('sluice_upstream_throttles_total', 'Calls that Bedrock throttled.', [
    'model',
    'pool',
  ])
  readonly #coalesced = this.#counter(
    'sluice_coalesced_total',
    "Invocations that took part in another's call, at no charge.",
    ['model'],
  )
  readonly #wait = new Histogram(
    'sluice_wait_seconds',
    'Time an invocation waited for its turn.',
    ['model', 'priority'],
    BUCKETS.wait,
  )
  readonly #firstByte = new Histogram(
    'sluice_first_byte_seconds',
    "From the send to the first byte of Bedrock's answer.",
    ['model', 'pool'],
    BUCKETS.firstByte,
  )
  readonly #duration = new Histogram(
    'sluice_duration_seconds',
    'An invocation, from arrival to its last byte.',
    ['model', 'operation'],
    BUCKETS.duration,
  )

  readonly #outputCaps = this.#counter('sluice_output_caps_total', 'Output caps that Sluice set or shrank.', [
    'model',
    'kind',
  ])
  /** Learned last, by model. */
  readonly #learnedCaps = new Map<string, number>()
  readonly #ledgerCalls = this.#counter('sluice_ledger_calls_total', 'Calls to Redis, by outcome.', [
    'model',
    'call',
    'outcome',
  ])
  readonly #ledgerSeconds = new Histogram(
    'sluice_ledger_call_seconds',
    'A call to Redis.',
    ['model', 'call'],
    BUCKETS.ledgerCall,
  )
  /** What the ledger said at this scrape. */
  #status: Promise<ModelStatus[]> = Promise.resolve([])
  readonly #ledger: () => Promise<ModelStatus[]>

  readonly #nowMs: () => number

  /** `ledger` is asked once at each scrape. Without a clock the clients that have series of their own stay the same. */
  constructor(
    ledger: () => Promise<ModelStatus[]>,
    inFlight: () => number,
    uptimeMetrics = true,
    nowMs: () => number = () => 0,
  ) {
    this.#ledger = ledger
    this.#nowMs = nowMs
    if (uptimeMetrics) this.process.collectDefaults()
    const learnedCapOf = (model: string) => this.#learnedCaps.get(model)
    registerRoomGauges(this.#registry, () => this.#status, { inFlight, learnedCapOf })
  }

  /** `accept`: of the request; with it OpenMetrics, and its exemplars, are given to whoever asks for them. */
  async scrape(accept?: string): Promise<{ contentType: string; text: string }> {
    const isOpen = wantsOpenMetrics(accept)
    this.#settleAccounts()
    this.#status = this.#ledger()
    this.#clients.refresh(this.#status, this.#nowMs())
    this.pushback.refresh()
    const own = [this.#wait, this.#firstByte, this.#duration, this.#ledgerSeconds, this.stages]
    const registered = await this.#registry.metrics()
    const text = `${registered}\n${own.map(histogram => histogram.text(isOpen)).join('\n\n')}\n`
    if (isOpen) return { contentType: Registry.OPENMETRICS_CONTENT_TYPE, text: openMetricsText(text) }
    return { contentType: this.#registry.contentType, text }
  }

  ledgerCalled(model: string, call: string, ms: number, ok: boolean): void {
    this.#ledgerCalls.inc({ model, call, outcome: ok ? 'answered' : 'failed' })
    this.#ledgerSeconds.tally({ model, call }).observe(ms / 1000)
    if (call === 'settle') this.stages.durations('settle').observe(ms / 1000)
  }

  /** `kind` is one of three: learned, fixed, shrunk. */
  outputCapped(model: string, kind: string, tokens: number): void {
    this.#outputCaps.inc({ model, kind })
    if (kind === 'learned') this.#learnedCaps.set(model, tokens)
  }

  refused(refusal: Refusal, operation: string, model = 'none'): void {
    this.#refusals.inc({ model, operation, code: refusal.code })
  }

  /** `client` is one that the config gives limits. */
  limitRefused(client: string, limit: string): void {
    this.#limitRefusals.inc({ client, limit })
  }

  fellBack({ model, kind, reason }: { model: string; kind: FallbackKind; reason: string }): void {
    this.#fallbacks.inc({ model, kind, reason })
  }

  finished(run: Finished): void {
    const { model, operation } = run
    const pool = run.pool ?? 'none'
    const account = this.#account(run, pool)
    this.stages.finished(run)
    this.#clients.finished(run)
    account.requests += 1
    if (run.refusal && run.outcome !== 'rescued') this.refused(run.refusal, operation, model)
    account.duration.observe(run.totalMs / 1000, run.traceId)
    if (run.coalesced) this.#coalesced.inc({ model })
    if (run.attempts === 0) return
    account.wait ??= this.#wait.tally({ model, priority: run.flow.priority })
    account.wait.observe(run.waitMs / 1000, run.traceId)
    for (const throttler of run.throttledBy) this.#throttled(model, throttler, run.reservedTokens)
    if (run.attempts > run.throttledBy.length + run.retries) {
      account.sends += 1
      account.reserved += run.reservedTokens
      account.charged += run.chargedTokens
    }
    if (run.firstByteMs !== undefined) {
      account.firstByte ??= this.#firstByte.tally({ model, pool })
      account.firstByte.observe(run.firstByteMs / 1000, run.traceId)
    }
    if (!run.usage) return
    account.input += run.usage.inputTokens
    account.output += run.usage.outputTokens
    account.cacheRead += run.usage.cacheReadTokens
    account.cacheWrite += run.usage.cacheWriteTokens
  }

  /** A call that failed is on its way again: what it took from the pool where it failed stays there. */
  retried({ model, pool, client, reservedTokens, chargedTokens }: Retry): void {
    this.#clients.charged(client, model, chargedTokens)
    this.pushback.retried(model, pool)
    this.#sends.inc({ model, pool })
    this.#reserved.inc({ model, pool }, reservedTokens)
    this.#charged.inc({ model, pool }, chargedTokens)
  }

  /** A throttled send has spent its reservation at the pool that throttled it. */
  #throttled(model: string, pool: string, reservedTokens: number): void {
    this.#sends.inc({ model, pool })
    this.#throttles.inc({ model, pool })
    this.#reserved.inc({ model, pool }, reservedTokens)
    this.#charged.inc({ model, pool }, reservedTokens)
  }

  #account(run: Finished, pool: string): Account {
    const key = `${run.model} ${run.operation} ${pool} ${run.flow.priority} ${run.outcome} ${run.status}`
    let account = this.#accounts.get(key)
    if (!account) {
      const { model, operation, outcome, status = 'none' } = run
      const labels = { model, operation, pool, priority: run.flow.priority, outcome, status }
      account = { ...NOTHING, labels, duration: this.#duration.tally({ model, operation }) }
      this.#accounts.set(key, account)
    }
    return account
  }

  #settleAccounts(): void {
    for (const { labels, ...counts } of this.#accounts.values()) {
      const { model, pool } = labels
      this.#requests.inc(labels, counts.requests)
      this.#sends.inc({ model, pool }, counts.sends)
      // A series that begins at 1 hides its first throttle from every rate.
      this.#throttles.inc({ model, pool }, 0)
      this.#reserved.inc({ model, pool }, counts.reserved)
      this.#charged.inc({ model, pool }, counts.charged)
      this.#tokens.inc({ model, pool, kind: 'input' }, counts.input)
      this.#tokens.inc({ model, pool, kind: 'output' }, counts.output)
      this.#tokens.inc({ model, pool, kind: 'cache-read' }, counts.cacheRead)
      this.#tokens.inc({ model, pool, kind: 'cache-write' }, counts.cacheWrite)
    }
    this.#accounts.clear()
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] })
  }
}
