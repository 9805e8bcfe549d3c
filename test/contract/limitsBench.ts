// One client of a store of limits in virtual time, as a story sees it.
import assert from 'node:assert/strict'
import type { Levels, LimitSettings } from '../../src/domain/limits/clientLimits.ts'
import type { Algorithm } from '../../src/domain/limits/meter.ts'
import type { Admission, ClientLimits } from '../../src/gateway/limitPorts.ts'
import { VirtualClock } from '../support/virtualClock.ts'

/** What tells the time to a store; it may be set back. */
export class StoryClock extends VirtualClock {
  #offMs = 0

  override nowMs(): number {
    return super.nowMs() + this.#offMs
  }

  stepBack(ms: number): void {
    this.#offMs -= ms
  }
}

export interface LimitsKind {
  open(clock: StoryClock): ClientLimits
}

type Allowed = Extract<Admission, { kind: 'allowed' }>

let clients = 0

export class Story {
  readonly clock = new StoryClock()
  readonly limits: ClientLimits
  readonly client = `client-${process.pid}-${++clients}`
  settings: LimitSettings
  readonly #startMs: number
  #calls = 0

  /** Begins at a full minute of the clock. */
  constructor(kind: LimitsKind, settings: LimitSettings) {
    this.limits = kind.open(this.clock)
    this.settings = settings
    this.#startMs = this.clock.nowMs()
    assert.equal(this.#startMs % 60_000, 0)
  }

  /** So long after the beginning. */
  async at(ms: number): Promise<void> {
    await this.clock.runUntil(this.#startMs + ms)
  }

  async take(tokens = 0): Promise<Admission> {
    this.#calls += 1
    return this.limits.take(this.client, this.settings, tokens, `${this.client}-${this.#calls}`)
  }

  async allowed(tokens = 0): Promise<Allowed> {
    const admission = await this.take(tokens)
    assert.ok(admission.kind === 'allowed', `refused: ${JSON.stringify(admission)}`)
    return admission
  }

  async refused(tokens = 0): Promise<{ over: string; retryAfterMs: number; levels: Levels }> {
    const admission = await this.take(tokens)
    assert.ok(admission.kind === 'refused', 'it was allowed')
    return { ...admission.denial, levels: admission.levels }
  }

  /** How many of `calls` of so many tokens, made at once, pass. */
  async pass(calls: number, tokens = 0): Promise<number> {
    let passed = 0
    for (let i = 0; i < calls; i++) if ((await this.take(tokens)).kind === 'allowed') passed += 1
    return passed
  }
}

export function requests(algorithm: Algorithm, requestsPerMinute: number): LimitSettings {
  return { algorithm, requestsPerMinute }
}

export function tokens(algorithm: Algorithm, tokensPerMinute: number): LimitSettings {
  return { algorithm, tokensPerMinute }
}
