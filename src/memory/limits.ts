// Clients' limits as one process counts them: alone, or while Redis is away.
import type { Clock } from '../domain/clock.ts'
import { type LimitSettings, wholeTokens } from '../domain/limits/clientLimits.ts'
import { ClientMeter } from '../domain/limits/clientMeter.ts'
import type { Admission, ClientLimits } from '../gateway/limitPorts.ts'

export class MemoryClientLimits implements ClientLimits {
  readonly #clock: Clock
  /** One for each client of the config that has limits and has called. */
  readonly #meters = new Map<string, ClientMeter>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  take(client: string, settings: LimitSettings, tokens: number): Admission {
    let meter = this.#meters.get(client)
    if (!meter) {
      meter = new ClientMeter()
      this.#meters.set(client, meter)
    }
    const reserved = wholeTokens(tokens)
    const denial = meter.take(settings, reserved, this.#nowMs())
    const levels = meter.levels(settings)
    if (denial) return { kind: 'refused', denial, levels }
    const ending = meter.ending(settings, reserved)
    return { kind: 'allowed', levels, end: charged => ending(charged, this.#nowMs()) }
  }

  keep(clients: ReadonlySet<string>): void {
    for (const client of this.#meters.keys()) if (!clients.has(client)) this.#meters.delete(client)
  }

  async close(): Promise<void> {}

  #nowMs(): number {
    return Math.floor(this.#clock.nowMs())
  }
}
