// A waiting room as an operator wants to see it: who waits for how long, who has had what against their weight, what the
// pools hold. Made of a snapshot, wherever the room lives.
import { FLOOR } from './classes.ts'
import { P90_FACTOR } from './eta.ts'
import { PRIORITIES, type Priority } from './model.ts'
import { OPEN_TO_ALL, SHUT } from './pool.ts'
import type { BucketSnapshot, RoomSnapshot } from './roomSnapshot.ts'

export interface RoomStatus {
  waiting: number
  inFlight: number
  /** How many replicas were heard of lately. */
  gateways: number
  /** Tokens of the reservations settled in the last minutes, and what was charged for them. */
  settled: { reservedTokens: number; chargedTokens: number }
  classes: ClassStatus[]
  pools: PoolStatus[]
}

export interface ClassStatus {
  priority: Priority
  waiting: number
  /** When a request of a user who has none in line would be likely to have its turn. */
  etaMs: { p50: number; p90: number }
  /** Seconds of the model's quota served a second, of late. */
  servedPerS: number
  clients: ClientStatus[]
  /** The users with the longest lines. */
  flows: FlowStatus[]
}

export interface ClientStatus {
  client: string
  weight: number
  waiting: number
  /** Of all that the class was served lately. */
  share: number
  /** Of the weights of those who were served. */
  weightShare: number
}

export interface FlowStatus {
  client: string
  user: string
  waiting: number
}

export interface PoolStatus {
  pool: string
  isOpen: boolean
  /** `probing`: so many requests may pass as show whether it works again. */
  gate: 'open' | 'shut' | 'probing'
  requests?: LevelStatus
  tokens?: LevelStatus
  /** Tokens saved for a large request. */
  savedTokens: number
}

export interface LevelStatus {
  /** As it is believed to be at present. */
  quotaPerMinute: number
  burst: number
  level: number
}

export function roomStatus(snapshot: RoomSnapshot): RoomStatus {
  return {
    waiting: snapshot.classes.reduce((sum, one) => sum + one.waiting, 0),
    inFlight: snapshot.reserved,
    gateways: snapshot.gateways,
    settled: {
      reservedTokens: Math.round(snapshot.meter.reserved),
      chargedTokens: Math.round(snapshot.meter.charged),
    },
    classes: PRIORITIES.map((priority, rank) => classStatus(snapshot, priority, rank)),
    pools: snapshot.pools.map(({ name, gate, purse, requests, tokens }) => ({
      pool: name,
      isOpen: gate !== SHUT,
      gate: gate === SHUT ? 'shut' : gate === OPEN_TO_ALL ? 'open' : 'probing',
      ...(requests && { requests: level(requests) }),
      ...(tokens && { tokens: level(tokens) }),
      savedTokens: Math.floor(purse),
    })),
  }
}

function classStatus(snapshot: RoomSnapshot, priority: Priority, rank: number): ClassStatus {
  const { waiting, waitingCostS, servedPerS } = snapshot.classes[rank]!
  const clients = snapshot.clients.filter(client => client.rank === rank)
  const users = clients.reduce((sum, client) => sum + client.users, 0)
  const served = clients.reduce((sum, client) => sum + client.servedS, 0)
  const weights = clients.reduce((sum, client) => sum + client.weight, 0)
  // One round: everybody who waits has one turn before the newcomer's.
  const roundS = waiting === 0 ? 0 : (waitingCostS / waiting) * users
  const p50 = Math.round((roundS / Math.max(servedPerS, FLOOR[rank]!, Number.EPSILON)) * 1000)
  return {
    priority,
    waiting,
    etaMs: { p50, p90: p50 * P90_FACTOR },
    servedPerS: round(servedPerS),
    clients: clients.map(({ client, weight, waiting, servedS }) => ({
      client,
      weight,
      waiting,
      share: served > 0 ? round(servedS / served) : 0,
      weightShare: round(weight / weights),
    })),
    flows: snapshot.flows
      .filter(flow => flow.rank === rank)
      .map(({ client, user, waiting }) => ({ client, user, waiting })),
  }
}

function level({ quotaPerMinute, burst, level }: BucketSnapshot): LevelStatus {
  return { quotaPerMinute: Math.round(quotaPerMinute), burst: Math.floor(burst), level: Math.floor(level) }
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4
}
