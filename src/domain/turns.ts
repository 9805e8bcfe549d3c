// Whose turn it is: low and normal while their floors allow, then high, normal, low; in each class, in order of start tag.
// A small head that fits nowhere shuts the pools it could use for all behind it, so nobody overtakes it there; a large one
// shuts nothing, for its pool saves for it (purse.ts).
import { floorAllows, headroom } from './classes.ts'
import { costS } from './cost.ts'
import type { Pool } from './pool.ts'
import { ablePools, fundPurses, type Saving } from './purse.ts'
import type { Room } from './room.ts'
import type { Ticket } from './ticket.ts'

/** How many clients, and of each how many users, are looked at for one turn: heads differ only in the pools that can hold them. */
const LOOK_AHEAD = 8

export type Turn = { kind: 'go'; ticket: Ticket; pool: Pool; fromPurse: boolean } | { kind: 'wait'; forMs: number }

interface Walk {
  room: Room
  nowMs: number
  shut: Set<Pool>
  forMs: number
}

export function nextTurn(room: Room, nowMs: number): Turn {
  const savings = fundPurses(room, nowMs)
  const walk: Walk = { room, nowMs, shut: new Set(), forMs: Number.POSITIVE_INFINITY }
  const openPools = room.pools.filter(pool => pool.isOpen)
  for (const { rank, byFloor, isForLarge } of order(room, savings)) {
    const turn = largeTurn(walk, savings[rank]!) ?? (isForLarge ? undefined : smallTurn(walk, rank, byFloor))
    if (turn) return turn
    if (openPools.every(pool => walk.shut.has(pool))) break
  }
  return { kind: 'wait', forMs: walk.forMs }
}

/** The pool with the most water of those where the request fits now and leaves the part `left` of the burst. */
export function bestFit(pools: Pool[], tokens: number, left: number, nowMs: number): Pool | undefined {
  let best: Pool | undefined
  let bestWater = Number.NEGATIVE_INFINITY
  for (const pool of pools) {
    if (pool.msUntilFits(tokens, left, nowMs) > 0) continue
    const water = pool.waterSeconds(tokens)
    if (best && water <= bestWater) continue
    best = pool
    bestWater = water
  }
  return best
}

interface ClassTurn {
  rank: number
  byFloor: boolean
  /** A large one is due first: small ones must not spend the floor that is to come to its cost. */
  isForLarge: boolean
}

function order(room: Room, savings: Saving[][]): ClassTurn[] {
  const turns: ClassTurn[] = []
  for (let rank = room.queues.length - 1; rank > 0; rank -= 1) {
    const large = savings[rank]!.find(saving => saving.isDue)?.ticket
    const head = large ?? room.queues[rank]!.small.at(0)?.small.at(0)
    if (head && floorAllows(room.credit, rank, costS(room.supply, head.tokens)))
      turns.push({ rank, byFloor: true, isForLarge: large !== undefined })
  }
  for (const [rank, queue] of room.queues.entries())
    if (queue.waiting > 0) turns.push({ rank, byFloor: false, isForLarge: false })
  return turns
}

function largeTurn(walk: Walk, savings: Saving[]): Turn | undefined {
  for (const { ticket, pool, isNext, isDue } of savings) {
    if (!isNext || !isDue) continue
    const missing = ticket.tokens - pool.purse
    const requestMs = pool.msUntilRequest(0, walk.nowMs)
    if (missing <= 0.5 && requestMs === 0) return { kind: 'go', ticket, pool, fromPurse: true }
    if (missing > 0.5) pool.limited.tokens = true
    pool.noteBlocked('saved', 0)
    const savedMs = missing > 0 && pool.tokens ? missing / pool.tokens.shape.fastRate : 0
    walk.forMs = Math.min(walk.forMs, Math.max(requestMs, savedMs))
  }
  return undefined
}

function smallTurn(walk: Walk, rank: number, byFloor: boolean): Turn | undefined {
  const left = byFloor ? 0 : headroom(walk.room.askedMs, rank, walk.nowMs)
  for (const client of walk.room.queues[rank]!.small.first(LOOK_AHEAD)) {
    for (const ticket of client.small.first(LOOK_AHEAD)) {
      const able = ablePools(walk.room.pools, ticket, walk.nowMs)
      const free = able.filter(pool => !walk.shut.has(pool))
      const pool = bestFit(free, ticket.tokens, left, walk.nowMs)
      if (pool) return { kind: 'go', ticket, pool, fromPurse: false }
      for (const one of free) {
        one.noteBlocked(ticket.tokens, left)
        walk.forMs = Math.min(walk.forMs, one.msUntilFits(ticket.tokens, left, walk.nowMs))
      }
      // A floor's turn is for the head alone, and holds nobody else back.
      if (byFloor) return undefined
      for (const one of able) walk.shut.add(one)
      if (walk.room.pools.every(one => !one.isOpen || walk.shut.has(one))) return undefined
    }
  }
  return undefined
}
