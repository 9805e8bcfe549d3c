// Many gateways over one ledger, in virtual time, with what goes wrong: announcements lost, gateways killed, the ledger
// restarted or failed over to another clock.
import { bucketShape } from '../../src/domain/bucket.ts'
import { type Conservation, ConservationAudit } from './conservation.ts'
import { type FluidPool, totals } from './fluidOptimum.ts'
import { type Call, SimulatedGateway, type Surroundings } from './gateway.ts'
import { SimulatedLedger } from './ledger.ts'
import { VirtualTime } from './virtualTime.ts'

export interface Quota {
  requestsPerMinute: number
  tokensPerMinute: number
}

export interface ClusterSettings {
  seed: number
  quotas: Quota[]
  gateways?: number | undefined
  /** The part of announcements that never arrive. */
  lostAnnouncements?: number | undefined
  /** Gateways' clocks differ from true time by up to so much either way, and deadlines go by them. */
  skewMs?: number | undefined
}

export const GATEWAYS = 10
export const BURST_SHARE = 0.05
const NOBODY_IS_TURNED_AWAY = { maxWaiting: 1_000_000, maxWaitingPerClient: 1_000_000 }
/** How long an announcement travels, and how long a gateway takes to find a restarted ledger. */
const HINT_MS = [0.2, 1.5] as const
const THROTTLED_AFTER_MS = 250
const RECONNECT_MS = [50, 500] as const
/** Long enough to serve what still waits, and for the leases of dead gateways to lapse. */
const AFTERMATH_MS = 1_200_000

export class Cluster {
  readonly time: VirtualTime
  readonly ledger: SimulatedLedger
  readonly gateways: SimulatedGateway[]
  /** The pools' sustained rates, (1 − burst)·quota: the unit of every share and use. */
  readonly fluidPools: FluidPool[]
  /** No source sends any more. */
  isClosing = false
  readonly #audit: ConservationAudit
  readonly #world: Surroundings
  #calls = 0

  constructor({ seed, quotas, gateways = GATEWAYS, lostAnnouncements = 0, skewMs = 0 }: ClusterSettings) {
    const pools = quotas.map((quota, i) => ({ name: `pool-${i}`, ...quota }))
    this.time = new VirtualTime(seed)
    const { chance } = this.time
    this.#audit = new ConservationAudit(this.time, pools, BURST_SHARE)
    this.ledger = new SimulatedLedger(
      this.time,
      { pools, burstShare: BURST_SHARE, ...NOBODY_IS_TURNED_AWAY },
      this.#audit,
    )
    this.#world = {
      time: this.time,
      ledger: this.ledger,
      throttles: () => false,
      throttledAfterMs: THROTTLED_AFTER_MS,
      hasOwnDeadlines: skewMs > 0,
    }
    this.gateways = Array.from({ length: gateways }, (_, i) => new SimulatedGateway(`gateway-${i}`, this.#world))
    for (const gateway of this.gateways) if (skewMs > 0) gateway.clockAheadMs = chance.between(-skewMs, skewMs)
    const byName = new Map(this.gateways.map(gateway => [gateway.name, gateway]))
    this.ledger.announce = name => {
      if (lostAnnouncements > 0 && chance.next() < lostAnnouncements) return
      this.time.after(chance.between(...HINT_MS), () => byName.get(name)?.hear())
    }
    this.fluidPools = quotas.map(fluidPool)
  }

  get supply(): { requestsPerS: number; tokensPerS: number } {
    return totals(this.fluidPools)
  }

  /** Seconds of all pools' sustained quota. */
  costS(tokens: number): number {
    return Math.max(1 / this.supply.requestsPerS, tokens / this.supply.tokensPerS)
  }

  /** Through any gateway that lives, as a balancer would spread them. */
  send(call: Omit<Call, 'id'>): void {
    const alive = this.gateways.filter(gateway => gateway.isAlive)
    this.#calls += 1
    alive[this.time.chance.below(alive.length)]!.send({ ...call, id: `call-${this.#calls}` })
  }

  /** From now on the upstream has its own mind: see Surroundings. */
  throttle(throttles: Surroundings['throttles'], throttledAfterMs = THROTTLED_AFTER_MS): void {
    this.#world.throttles = throttles
    this.#world.throttledAfterMs = throttledAfterMs
  }

  kill(index: number): void {
    this.gateways[index]!.kill()
  }

  restartLedger(): void {
    this.ledger.restart()
    for (const gateway of this.gateways) {
      gateway.disconnect()
      this.time.after(this.time.chance.between(...RECONNECT_MS), () => gateway.reconnect())
    }
  }

  /** Runs for `durationS`, then until all is served. */
  run(durationS: number): { broken: string[]; conservation: Conservation } {
    this.time.runUntil(durationS * 1000)
    this.isClosing = true
    this.time.runUntil(durationS * 1000 + AFTERMATH_MS)
    this.ledger.tick('operator')
    const { room, faults } = this.ledger
    const open = this.gateways.reduce((total, gateway) => total + gateway.openCalls, 0)
    const broken = faults.slice(0, 3)
    const forgotten = this.gateways.reduce((total, gateway) => total + gateway.forgotten, 0)
    if (forgotten > 0) broken.push(`${forgotten} tickets were forgotten`)
    if (open > 0) broken.push(`${open} calls never ended`)
    if (room.waitingCount > 0) broken.push(`${room.waitingCount} tickets still wait`)
    if (room.reservedCount > 0) broken.push(`${room.reservedCount} reservations stay`)
    return { broken, conservation: this.#audit.result() }
  }
}

function fluidPool({ requestsPerMinute, tokensPerMinute }: Quota): FluidPool {
  return {
    requestsPerS: bucketShape(requestsPerMinute, BURST_SHARE).slowRate * 1000,
    tokensPerS: bucketShape(tokensPerMinute, BURST_SHARE).slowRate * 1000,
    largestTokens: tokensPerMinute,
  }
}
