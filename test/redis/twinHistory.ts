// Random histories of a waiting room: calls of several gateways, with everything that goes wrong in a cluster. Drawn from
// dice, and steered by the replies, so that most calls meet the state they are about.
import type { Dice } from '../../src/domain/clock.ts'
import { oneOf, wholeBetween } from '../../src/simulator/dice.ts'
import { type Call, chunks, idsOf, type Reply, settlementsOf, type Verb } from './twinRoom.ts'

const START_US = 1_764_000_000_123_457
const VERBS: [Verb, number][] = [
  ['acquire', 40],
  ['settle', 26],
  ['tick', 16],
  ['requeue', 5],
  ['cancel', 5],
  ['report', 4],
  ['steer', 4],
  ['configure', 1],
  ['drain', 0.3],
]

interface Pool {
  name: string
  requests: number | ''
  tokens: number | ''
}

export class History {
  readonly #dice: Dice
  readonly #gateways: string[]
  readonly #clients: { name: string; weight: number; users: number }[]
  /** Of how many milliseconds a step between two calls is made. */
  readonly #stepMs: number
  readonly #largeShare: number
  /** Of the pools' quota, about so much is asked for. */
  readonly #load: number
  /** Each gateway's own tickets are its own to settle and to cancel. */
  readonly #waiting = new Map<string, string>()
  readonly #held = new Map<string, { gateway: string; tokens: number }>()
  readonly #tokens = new Map<string, number>()
  #pools: Pool[]
  #nowUs = START_US
  #tickets = 0
  #version = 0
  #silentUntilUs = 0

  constructor(dice: Dice) {
    this.#dice = dice
    this.#gateways = names('gw', wholeBetween(dice, 1, 4))
    this.#clients = names('client', wholeBetween(dice, 1, 5)).map(name => ({
      name,
      weight: oneOf(dice, [1, 1, 2, 4, 0.5, 3]),
      users: oneOf(dice, [1, 3, 20, 1_000]),
    }))
    this.#stepMs = oneOf(dice, [5, 50, 400, 3_000])
    this.#largeShare = oneOf(dice, [0, 0.03, 0.2])
    this.#load = oneOf(dice, [0.1, 0.7, 1.3, 3])
    this.#pools = this.#somePools()
  }

  first(): Call {
    return { verb: 'configure', nowUs: this.#nowUs, gateway: this.#gateways[0]!, args: this.#settings() }
  }

  next(): Call {
    this.#passTime()
    const verb = this.#verb()
    const gateway = this.#gateway()
    return { verb, nowUs: this.#nowUs, gateway, args: this.#args(verb) }
  }

  get nowUs(): number {
    return this.#nowUs
  }

  /** What came of a call: the history goes on from there. */
  heard({ verb, gateway, args }: Call, [, results, grants]: Reply): void {
    if (verb === 'acquire') for (const [id] of chunks(settlementsOf(args), 2)) this.#held.delete(String(id))
    const ids = idsOf(verb, args)
    for (const [index, result] of results.entries()) {
      const id = String(ids[index])
      if (verb === 'settle') this.#held.delete(id)
      if (verb === 'requeue') this.#held.delete(id)
      if (!Array.isArray(result)) continue
      if (result[0] === 'left') this.#waiting.delete(id)
      if (result[0] === 'granted') this.#grant(id, gateway)
      if (result[0] === 'waiting') this.#waiting.set(id, gateway)
    }
    for (let at = 0; at < grants.length; at += 2) this.#grant(grants[at]!, gateway)
  }

  #grant(id: string, gateway: string): void {
    this.#waiting.delete(id)
    this.#held.set(id, { gateway, tokens: this.#tokens.get(id)! })
  }

  #chance(part: number): boolean {
    return this.#dice() < part
  }

  #one<Item>(items: Item[]): Item {
    return items[wholeBetween(this.#dice, 0, items.length - 1)]!
  }

  #passTime(): void {
    const stepUs = this.#stepMs * 1000
    if (this.#chance(0.6)) this.#nowUs += Math.floor(this.#dice() * 2 * stepUs)
    if (this.#chance(0.01)) this.#nowUs += wholeBetween(this.#dice, 1_000_000, 20_000_000)
    if (this.#chance(0.001)) this.#nowUs += wholeBetween(this.#dice, 60_000_000, 1_200_000_000)
    if (this.#chance(0.003)) this.#nowUs -= wholeBetween(this.#dice, 1, 1_999_999)
    if (this.#chance(0.001)) this.#nowUs -= wholeBetween(this.#dice, 2_000_001, 12_000_000)
    if (this.#chance(0.002)) this.#silentUntilUs = this.#nowUs + 40_000_000
  }

  #verb(): Verb {
    let drawn = this.#dice() * VERBS.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [verb, weight] of VERBS) {
      drawn -= weight
      const isIdle = (verb === 'settle' || verb === 'requeue') && this.#held.size === 0 && this.#chance(0.9)
      if (drawn < 0) return isIdle ? 'acquire' : verb
    }
    return 'tick'
  }

  /** Now and then all but the first are silent. */
  #gateway(): string {
    return this.#nowUs < this.#silentUntilUs ? this.#gateways[0]! : this.#one(this.#gateways)
  }

  #args(verb: Verb): (string | number)[] {
    switch (verb) {
      case 'acquire':
        return [...this.#settledAlong(), ...this.#several(4).flatMap(() => this.#ask())]
      case 'settle':
        return this.#someOf([...this.#held.keys()]).flatMap(id => [id, this.#charge(id)])
      case 'requeue':
        return this.#someOf([...this.#held.keys()]).flatMap(id => [id, this.#chance(0.5) ? '' : this.#charge(id)])
      case 'cancel':
        return this.#someOf([...(this.#chance(0.8) ? this.#waiting : this.#held).keys()])
      case 'report':
        return this.#several(2).flatMap(() => this.#news())
      case 'steer':
        return [`state ${this.#nowUs}`, ...this.#several(3).flatMap(() => this.#steering())]
      case 'configure':
        return this.#reconfigured()
      default:
        return []
    }
  }

  #settledAlong(): (string | number)[] {
    const ids = this.#chance(0.3) ? this.#someOf([...this.#held.keys()]) : []
    return [ids.length, ...ids.flatMap(id => [id, this.#charge(id)])]
  }

  #several(most: number): number[] {
    return Array.from({ length: this.#chance(0.6) ? 1 : wholeBetween(this.#dice, 1, most) }, (_, index) => index)
  }

  /** Mostly known ids, some of them twice, some unknown. */
  #someOf(ids: string[]): string[] {
    return this.#several(4).map(() =>
      ids.length === 0 || this.#chance(0.03) ? `t${wholeBetween(this.#dice, 0, this.#tickets)}` : this.#one(ids),
    )
  }

  #ask(): (string | number)[] {
    const known = this.#chance(0.05) ? this.#someOf([...this.#waiting.keys(), ...this.#held.keys()])[0]! : undefined
    const id = known ?? `t${this.#tickets++}`
    const client = this.#one(this.#clients)
    if (this.#chance(0.002)) client.weight = oneOf(this.#dice, [1, 2, 4, 0.5, 3])
    const user = `u${wholeBetween(this.#dice, 1, client.users)}`
    const tokens = this.#tokens.get(id) ?? this.#someTokens()
    this.#tokens.set(id, tokens)
    const leftMs = this.#chance(0.02) ? 0 : wholeBetween(this.#dice, 0, this.#chance(0.2) ? 2_000 : 90_000)
    const rank = oneOf(this.#dice, [0, 1, 1, 1, 2])
    const sdkId = this.#chance(0.3) ? '' : `sdk${wholeBetween(this.#dice, 1, 4)}`
    return [id, rank, client.name, client.weight, user, tokens, leftMs, sdkId]
  }

  #someTokens(): number {
    const dice = this.#dice
    const perS = this.#pools.reduce((sum, pool) => sum + (pool.tokens || 20_000), 0) / 60
    if (this.#chance(0.01)) return wholeBetween(dice, 1, Math.ceil(perS * 80))
    if (this.#chance(0.01)) return this.#one(this.#pools).tokens || 1
    if (this.#chance(this.#largeShare)) return wholeBetween(dice, Math.ceil(perS * 1.5), Math.ceil(perS * 12))
    if (this.#chance(0.2)) return wholeBetween(dice, 0, 20)
    return wholeBetween(dice, 1, Math.ceil(perS * this.#stepMs * 0.002 * this.#load))
  }

  #charge(id: string): number {
    const tokens = this.#held.get(id)?.tokens ?? 10
    return Math.floor(tokens * (this.#chance(0.2) ? 1 : this.#dice() * 1.3))
  }

  #somePool(): string {
    return this.#chance(0.03) ? 'nowhere' : this.#one(this.#pools).name
  }

  /** Mostly of a pool that does well. */
  #news(): (string | number)[] {
    const failed = this.#chance(0.7) ? 0 : wholeBetween(this.#dice, 1, 4)
    const succeeded = this.#chance(failed > 0 ? 0.3 : 0.9) ? wholeBetween(this.#dice, 1, 9) : 0
    const counts = [9, 9, 1, 1, 1].map(most => wholeBetween(this.#dice, 0, most))
    const tokens = (this.#dice() - 0.2) * 1_000
    const goodMs = succeeded > 0 ? wholeBetween(this.#dice, 0, oneOf(this.#dice, [10, 2_000])) : ''
    return [this.#somePool(), ...counts, succeeded, failed, tokens, this.#chance(0.2) ? 0 : failed, goodMs]
  }

  #steering(): (string | number)[] {
    const gate = this.#chance(0.5) ? '' : this.#chance(0.7) ? -1 : wholeBetween(this.#dice, 0, 3)
    return [this.#somePool(), ...this.#pace(), gate, this.#chance(0.5) ? '' : wholeBetween(this.#dice, 1, 9)]
  }

  #pace(): (number | '')[] {
    return [0, 0].map(() => (this.#chance(0.3) ? '' : 5 + this.#dice() * oneOf(this.#dice, [100, 10_000, 300_000])))
  }

  #somePools(): Pool[] {
    const dice = this.#dice
    return names('pool', wholeBetween(dice, 1, 4)).map(name => ({
      name,
      requests: this.#chance(0.4) ? '' : wholeBetween(dice, 5, oneOf(dice, [60, 600, 6_000])),
      tokens: this.#chance(0.15) ? '' : wholeBetween(dice, 500, oneOf(dice, [10_000, 100_000, 1_000_000])),
    }))
  }

  #reconfigured(): (string | number)[] {
    if (this.#chance(0.3)) return this.#settings()
    this.#version += 1
    this.#pools = this.#somePools().filter((_, index) => index === 0 || this.#chance(0.8))
    if (this.#chance(0.5)) this.#pools.reverse()
    return this.#settings()
  }

  #settings(): (string | number)[] {
    // Of a version the settings are always the same.
    const drawn = this.#version * 7 + this.#gateways.length
    const burstShare = [0.05, 0.05, 0.02, 0.2, 0.005][drawn % 5]!
    const bounds = [drawn % 3 === 0 ? 12 : 200, drawn % 4 === 0 ? 5 : 100]
    return [
      `v${this.#version}`,
      burstShare,
      ...bounds,
      'PUBLISH',
      drawn % 2 === 0 ? 5 : '',
      ...this.#pools.flatMap(pool => [pool.name, pool.requests, pool.tokens]),
    ]
  }
}

function names(kind: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${kind}${index + 1}`)
}
