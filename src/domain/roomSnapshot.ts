// The state of a waiting room in plain values: what its status is made of, wherever the room lives, and what must be the
// same, digit for digit, in the engine and in its twin in Redis.

import { type ClientLine, servedLately } from './clientLine.ts'
import type { FairQueue } from './fairQueue.ts'
import type { Pool } from './pool.ts'
import type { Room } from './room.ts'
import { type MeterState, servedPerS } from './serviceMeter.ts'

export interface RoomSnapshot {
  asOfMs: number
  /** Reservations not settled yet. */
  reserved: number
  /** Replicas heard of lately. */
  gateways: number
  epoch: number
  pools: PoolSnapshot[]
  /** High first. */
  classes: ClassSnapshot[]
  meter: MeterState
  /** By class; of each, those with most tickets in line first, then by name. */
  clients: ClientSnapshot[]
  /** Those with the longest lines. */
  flows: FlowSnapshot[]
  /** When somebody should tick; undefined when nobody waits. */
  napMs: number | undefined
}

export interface PoolSnapshot {
  name: string
  gate: number
  heldUntilMs: number
  purse: number
  requests?: BucketSnapshot
  tokens?: BucketSnapshot
}

export interface BucketSnapshot {
  level: number
  asOfMs: number
  stockedAtMs: number
  quotaPerMinute: number
  burst: number
}

export interface ClassSnapshot {
  waiting: number
  virtualS: number
  credit: number
  waitingCostS: number
  waitingWeight: number
  /** When it last asked for anything; -Infinity: never. */
  askedMs: number
  servedPerS: number
}

export interface ClientSnapshot {
  rank: number
  client: string
  waiting: number
  weight: number
  tag: number
  stamp: number
  virtualS: number
  /** How many of its users wait. */
  users: number
  /** Seconds of quota it was served, halved every minute. */
  servedS: number
}

export interface FlowSnapshot {
  rank: number
  client: string
  user: string
  waiting: number
  tag: number
}

/** What of a room is not in its lines and pools. */
export type Remainder = Pick<RoomSnapshot, 'asOfMs' | 'reserved' | 'gateways' | 'meter' | 'napMs'>

/** `most`: so many flows in all, and so many clients a class. */
export function roomSnapshot(room: Room, rest: Remainder, most: number): RoomSnapshot {
  const { meter, asOfMs } = rest
  return {
    ...rest,
    meter: { ...meter, current: [...meter.current], previous: [...meter.previous] },
    epoch: room.epoch,
    pools: room.pools.map(poolSnapshot),
    classes: room.queues.map(({ waiting, virtualS, waitingCostS, waitingWeight }, rank) => ({
      waiting,
      virtualS,
      credit: room.credit[rank]!,
      waitingCostS,
      waitingWeight,
      askedMs: room.askedMs[rank]!,
      servedPerS: servedPerS(meter, rank, asOfMs) ?? 0,
    })),
    clients: room.queues.flatMap((queue, rank) => clientSnapshots(queue, rank, most, asOfMs)),
    flows: flowSnapshots(room.queues, most),
  }
}

function poolSnapshot({ name, gate, heldUntilMs, purse, requests, tokens }: Pool): PoolSnapshot {
  return {
    name,
    gate,
    heldUntilMs,
    purse,
    ...(requests && { requests: bucketSnapshot(requests) }),
    ...(tokens && { tokens: bucketSnapshot(tokens) }),
  }
}

function bucketSnapshot({ state, shape }: NonNullable<Pool['tokens']>): BucketSnapshot {
  const { level, asOfMs, stockedAtMs } = state
  return { level, asOfMs, stockedAtMs, quotaPerMinute: shape.quotaPerMinute, burst: shape.burst }
}

function clientSnapshots(queue: FairQueue, rank: number, most: number, nowMs: number): ClientSnapshot[] {
  return [...queue.clients.values()]
    .sort((a, b) => b.waiting - a.waiting || (a.name < b.name ? -1 : 1))
    .slice(0, most)
    .map(client => ({
      rank,
      client: client.name,
      waiting: client.waiting,
      weight: client.weight,
      tag: client.tag,
      stamp: client.stamp,
      virtualS: client.virtualS,
      users: client.users.size,
      servedS: servedLately(client, nowMs).servedS,
    }))
}

function flowSnapshots(queues: FairQueue[], most: number): FlowSnapshot[] {
  const flows = queues.flatMap((queue, rank) =>
    [...queue.clients.values()].flatMap((client: ClientLine) =>
      [...client.users.values()].map(user => ({
        rank,
        client: client.name,
        user: user.name,
        waiting: user.tickets.length,
        tag: user.tag,
        // The order in which Redis has them: ties by name, last first.
        name: `${rank}:${client.name.length}:${client.name}:${user.name}`,
      })),
    ),
  )
  return flows
    .sort((a, b) => b.waiting - a.waiting || (a.name < b.name ? 1 : -1))
    .slice(0, most)
    .map(({ name: _, ...flow }) => flow)
}
