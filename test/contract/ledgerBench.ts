// One model's ledger for a contract test, as one gateway sees it or as two that share it. Its quota all but stands still, so
// that turns come only when the test lets them: by a settlement, or by new settings.

import assert from 'node:assert/strict'
import type { ModelSettings, Priority } from '../../src/domain/model.ts'
import { noCounts, type PoolCounts, type Report, type Steering } from '../../src/domain/poolReport.ts'
import type { AdmissionSettings, Ask, Decision, Ledger, ModelStatus } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { systemClock } from '../../src/system.ts'
import { PLAIN } from '../support/models.ts'
import { until } from '../support/wire.ts'

export interface Gateways {
  /** Of one and the same model. */
  ledgers: Ledger[]
  close(): void
}

export interface LedgerKind {
  open(models: ModelSettings[], admission: AdmissionSettings): Promise<Gateways>
}

/** One test of a kind. */
export interface Trial extends LedgerKind {
  after(task: () => void): void
}

export type Check = (trial: Trial) => Promise<void>

export interface AskOptions {
  user?: string
  client?: string
  priority?: Priority
  weight?: number
  tokens?: number
  waitMs?: number
  sdkInvocationId?: string
  refuseWhenShut?: boolean
  /** Which gateway it comes to. */
  at?: number
}

/** Small beside the quota: two seconds of it. */
export const TOKENS = 20
/** A token a second flows in, and nine tenths of a minute may be saved up. */
const STILL = 600
export const BURST = 540
/** As many requests as a full bucket holds. */
export const HOLDERS = BURST / TOKENS
/** What flows in during a test, at most. */
export const INFLOW = 15
const STILL_BURST = 0.9
/** Fills any still bucket within milliseconds. */
const TORRENT = 60_000_000
const LONG_MS = 1e9

const NOTHING = noCounts()

let models = 0

type Pools = { name: string; requestsPerMinute?: number; tokensPerMinute?: number }[]

export class LedgerBench {
  /** Of every decision, in the order they came: the ticket, and what became of it. */
  readonly decided: string[] = []
  readonly decisions = new Map<string, Decision>()
  readonly #name: string
  readonly #asks = new Map<string, { ask: Ask; presence: Presence; at: number }>()
  #gateways: Gateways = { ledgers: [], close() {} }
  #pools: Pools = [{ name: 'p', tokensPerMinute: STILL }]
  #admission: AdmissionSettings = { burst: STILL_BURST, maxWaiting: 1_000, maxWaitingPerClient: 1_000 }

  private constructor() {
    this.#name = `model-${models++}`
  }

  /** Full buckets. */
  static async open(trial: Trial, pools?: Pools, admission: Partial<AdmissionSettings> = {}): Promise<LedgerBench> {
    const bench = new LedgerBench()
    if (pools) bench.#pools = pools
    bench.#admission = { ...bench.#admission, ...admission }
    bench.#gateways = await trial.open(bench.#models(torrent(bench.#pools)), bench.#admission)
    trial.after(() => bench.#close())
    const isFull = ({ tokens }: { tokens?: { level: number } }, pool: Pools[number]) =>
      (tokens?.level ?? 0) >= (pool.tokensPerMinute ?? 0)
    await until(async () => {
      const status = await bench.status()
      return bench.#pools.every((pool, i) => isFull(status.pools[i]!, pool))
    }, 'the buckets fill')
    bench.configure()
    await until(async () => {
      const status = await bench.status()
      return status.pools.every((pool, i) => pool.tokens!.quotaPerMinute <= bench.#pools[i]!.tokensPerMinute!)
    }, 'the still settings hold')
    return bench
  }

  /** … and then emptied by HOLDERS requests, held by the last gateway. */
  static async emptied(trial: Trial, admission: Partial<AdmissionSettings> = {}): Promise<LedgerBench> {
    const bench = await LedgerBench.open(trial, undefined, admission)
    const at = bench.#gateways.ledgers.length - 1
    for (let i = 0; i < HOLDERS; i++) bench.acquire(`holder ${i}`, { client: 'holder', at })
    await bench.decides(HOLDERS)
    bench.decided.length = 0
    return bench
  }

  get gateways(): number {
    return this.#gateways.ledgers.length
  }

  /** New settings, told by every gateway as at a reload. */
  configure(pools = this.#pools, admission: Partial<AdmissionSettings> = {}): void {
    this.#pools = pools
    this.#admission = { ...this.#admission, ...admission }
    for (const ledger of this.#gateways.ledgers) ledger.configure(this.#models(pools), this.#admission)
  }

  /** Room for everybody. */
  flood(): void {
    this.configure(torrent(this.#pools))
  }

  acquire(ticketId: string, options: AskOptions = {}): void {
    const { user = 'ann', client = 'open', priority = 'normal', weight = 1, tokens = TOKENS } = options
    const { waitMs = LONG_MS, at = 0, sdkInvocationId, refuseWhenShut } = options
    const flow = { priority, client, user }
    const deadlineMs = systemClock.nowMs() + waitMs
    const rest = { ...(sdkInvocationId && { sdkInvocationId }), ...(refuseWhenShut && { refuseWhenShut }) }
    const ask = { ticketId: `${this.#name} ${ticketId}`, model: this.#name, flow, weight, tokens, deadlineMs, ...rest }
    const presence = new Presence()
    this.#asks.set(ticketId, { ask, presence, at })
    this.#note(ticketId, this.#ledger(at).acquire(ask, presence))
  }

  requeue(ticketId: string, chargedTokens?: number): void {
    const { ask, presence, at } = this.#asks.get(ticketId)!
    this.decisions.delete(ticketId)
    this.#note(ticketId, this.#ledger(at).requeue(ask, presence, chargedTokens))
  }

  /** News of one pool. `goodMs`: how long ago the youngest success was sent. */
  report(at: number, counts: Partial<PoolCounts> = {}, failedInRow = counts.failed ?? 0, goodMs = 0): Promise<Report> {
    const good = counts.succeeded && { youngestGoodMs: goodMs }
    const news = { pool: this.#pools[0]!.name, counts: { ...NOTHING, ...counts }, failedInRow, ...good }
    return this.#ledger(at).report(this.#name, [news])
  }

  /** Of the first pool. */
  gate(at: number, gate: number, state = ''): Promise<void> {
    return this.steer(at, { state, pools: [{ pool: this.#pools[0]!.name, believed: {}, gate }] })
  }

  steer(at: number, steering: Steering): Promise<void> {
    return this.#ledger(at).steer(this.#name, steering)
  }

  settle(ticketId: string, chargedTokens: number): void {
    const { ask, at } = this.#asks.get(ticketId)!
    this.#ledger(at).settle(ask, chargedTokens)
  }

  leave(ticketId: string): void {
    this.#asks.get(ticketId)!.presence.leave()
  }

  /** Gives back, whole, what so many holders hold. */
  release(from: number, count: number): void {
    for (let i = from; i < from + count; i++) this.settle(`holder ${i}`, 0)
  }

  async status(at = 0): Promise<ModelStatus> {
    return (await this.#ledger(at).status()).find(one => one.model === this.#name)!
  }

  async level(pool = 0): Promise<number> {
    return (await this.status()).pools[pool]!.tokens!.level
  }

  async waits(count: number): Promise<void> {
    await until(async () => (await this.status()).waiting === count, `${count} wait`)
  }

  async holds(count: number): Promise<void> {
    await until(async () => (await this.status()).inFlight === count, `${count} are in flight`)
  }

  /** Waits for so many decisions in all, and no more come. */
  async decides(count: number): Promise<string[]> {
    await until(() => this.decided.length >= count, `${count} decisions, ${this.decided.length} so far`, 10_000)
    await this.status()
    assert.equal(this.decided.length, count, this.decided.join())
    return this.decided
  }

  refusal(ticketId: string): { code: string; retryAfterMs?: number } {
    const decision = this.decisions.get(ticketId)!
    assert.ok(decision.kind === 'refused', decision.kind)
    return decision.refusal
  }

  pool(ticketId: string): string {
    const decision = this.decisions.get(ticketId)!
    assert.ok(decision.kind === 'granted', decision.kind)
    return decision.pool
  }

  #close(): void {
    // Whoever still waits would do so for days.
    for (const { presence } of this.#asks.values()) presence.leave()
    this.#gateways.close()
  }

  #ledger(at: number): Ledger {
    return this.#gateways.ledgers[at % this.gateways]!
  }

  #note(ticketId: string, deciding: Promise<Decision>): void {
    void deciding.then(decision => {
      assert.ok(!this.decisions.has(ticketId), `${ticketId} was decided twice`)
      this.decisions.set(ticketId, decision)
      this.decided.push(decision.kind === 'granted' ? ticketId : `${ticketId} ${decision.kind}`)
    })
  }

  #models(pools: Pools): ModelSettings[] {
    const rest = { modelIds: ['*'], outputBurndown: 1, maxOutputTokens: 10, bytesPerToken: 3, ...PLAIN }
    return [{ name: this.#name, ...rest, pools: pools.map(pool => ({ ...pool, region: 'us-east-1' })) }]
  }
}

function torrent(pools: Pools): Pools {
  return pools.map(pool => ({ ...pool, tokensPerMinute: TORRENT }))
}
