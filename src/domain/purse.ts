// How large requests are saved for. They do not compete for the bucket: to skip them while it is too empty would starve
// them, to let them block all others would keep small ones waiting for a full bucket. Instead each pool has one purse,
// paid into at the pace at which a fluid server would have served the large ones; the first of them goes once it is in there.
import { floorAllows, headroom } from './classes.ts'
import { costS, type Supply } from './cost.ts'
import type { FairQueue } from './fairQueue.ts'
import { type Pool, TRIFLE } from './pool.ts'
import type { Room } from './room.ts'
import { isBarred, type Ticket } from './ticket.ts'

/** Of each class, so many large tickets are saved for at a time. */
const MOST_LARGE = 8
/** A purse holds at most this part of a minute's quota, or else the one ticket that goes next. */
const PURSE_SHARE = 0.5
/** A pool may lend to a lonely large request while the others hold this part of their bursts. */
const SPARE_SHARE = 0.5

/** A large ticket and the pool that saves for it. */
export interface Saving {
  ticket: Ticket
  pool: Pool
  /** It is the pool's next, … */
  isNext: boolean
  /** … and by now a fluid server would have served it. */
  isDue: boolean
}

interface Claim {
  saving: Saving
  dueTokens: number
  /** Its class's floor entitles it, whatever waits above. */
  byFloor: boolean
}

/** The open pools whose whole minute can hold the ticket, without those that throttled it lately. */
export function ablePools(pools: Pool[], ticket: Ticket, nowMs: number): Pool[] {
  return pools.filter(pool => pool.isOpen && pool.canEverHold(ticket.tokens) && !isBarred(ticket, pool.name, nowMs))
}

/** Moves water between buckets and purses; the savings of each class come back in their order. */
export function fundPurses(room: Room, nowMs: number): Saving[][] {
  if (room.queues.every(queue => queue.large.size === 0)) {
    for (const pool of room.pools) if (pool.purse > 0) pool.save(-pool.purse)
    return room.queues.map(() => [])
  }
  const claims = new Map<Pool, Claim[]>(room.pools.map(pool => [pool, []]))
  const savings: Saving[][] = []
  let above = 0
  for (const [rank, queue] of room.queues.entries()) {
    savings.push(claimAll(room, rank, above, claims, nowMs))
    above += queue.waiting
  }
  for (const [pool, ofPool] of claims) if (pool.isOpen) fund(room, pool, ofPool, above, nowMs)
  return savings
}

function claimAll(room: Room, rank: number, above: number, claims: Map<Pool, Claim[]>, nowMs: number): Saving[] {
  const queue = room.queues[rank]!
  const savings: Saving[] = []
  for (const [index, ticket] of firstLarge(queue, room.supply).entries()) {
    const able = ablePools(room.pools, ticket, nowMs)
    if (able.length === 0) continue
    const pool = saverOf(ticket, able, claims, room.epoch)
    const cost = costS(room.supply, ticket.tokens)
    const byFloor = floorAllows(room.credit, rank, cost)
    const isFirst = index === 0 && queue.small.size === 0
    const duePart = isFirst ? 1 : Math.min(1, Math.max(0, queue.owedS(ticket) / cost))
    const saving = { ticket, pool, isNext: false, isDue: duePart >= 1 }
    savings.push(saving)
    // While a higher class waits, nothing is saved for a lower one beyond its floor.
    const dueTokens = above > 0 && !byFloor ? 0 : ticket.tokens * duePart
    claims.get(pool)!.push({ saving, byFloor, dueTokens })
  }
  return savings
}

/** The class's large heads in the order a fluid server would finish them, dealt evenly to the clients that come first. */
function firstLarge(queue: FairQueue, supply: Supply): Ticket[] {
  const clients = queue.large.first(MOST_LARGE)
  const each = Math.floor(MOST_LARGE / Math.max(1, clients.length))
  const heads = clients.flatMap(client =>
    client.large.first(each).map(ticket => ({
      ticket,
      leftS: (costS(supply, ticket.tokens) - queue.owedS(ticket)) / client.weight,
    })),
  )
  heads.sort((a, b) => a.leftS - b.leftS || (a.ticket.key < b.ticket.key ? -1 : 1))
  return heads.map(head => head.ticket)
}

/** The pool that would have saved enough for it soonest; it stays with it. */
function saverOf(ticket: Ticket, able: Pool[], claims: Map<Pool, Claim[]>, epoch: number): Pool {
  const { saver } = ticket
  const kept = saver?.epoch === epoch ? able.find(pool => pool.name === saver.pool) : undefined
  if (kept) return kept
  let best: Pool | undefined
  let bestLoad = Number.POSITIVE_INFINITY
  for (const pool of able) {
    const before = claims.get(pool)!.reduce((sum, claim) => sum + claim.saving.ticket.tokens, 0)
    const load = (before + ticket.tokens - pool.purse) / (pool.tokens?.shape.quotaPerMinute ?? Infinity)
    if (load < bestLoad) {
      best = pool
      bestLoad = load
    }
  }
  const chosen = best ?? able[0]!
  ticket.saver = { pool: chosen.name, epoch }
  return chosen
}

function fund(room: Room, pool: Pool, claims: Claim[], waiting: number, nowMs: number): void {
  // A claim that its floor entitles to be paid in full goes first; else in the order of class, then finish.
  const next = claims.find(claim => claim.byFloor && claim.dueTokens >= claim.saving.ticket.tokens) ?? claims[0]
  if (!next || !pool.tokens) {
    if (pool.purse > 0) pool.save(-pool.purse)
    return
  }
  const { state, shape } = pool.tokens
  const { ticket } = next.saving
  next.saving.isNext = true
  const cap = Math.max(shape.quotaPerMinute * PURSE_SHARE, ticket.tokens)
  const dueTokens = claims.reduce((sum, claim) => sum + claim.dueTokens, 0)
  const target = Math.min(dueTokens, cap)
  const keep = Math.max(target, Math.min(pool.purse, cap))
  if (pool.purse > keep) pool.save(keep - pool.purse)
  if (waiting === 1 && mayLend(room.pools, pool, nowMs)) {
    if (ticket.tokens > pool.purse) pool.save(ticket.tokens - pool.purse)
    return
  }
  const left = next.byFloor ? 0 : headroom(room.askedMs, ticket.rank, nowMs) * shape.burst
  const move = Math.min(target - pool.purse, state.level - left)
  if (move > 0) pool.save(move)
}

/** Nobody else waits, the bucket is full, and if there are other pools they have plenty: the large one goes, leaving a debt. */
function mayLend(pools: Pool[], pool: Pool, nowMs: number): boolean {
  const { state, shape } = pool.tokens!
  if (nowMs < pool.paidUntilMs) return false
  if (pool.requests && pool.requests.state.level < 1 - TRIFLE) return false
  if (state.level + pool.purse < shape.burst - TRIFLE) return false
  let level = 0
  let burst = 0
  for (const other of pools) {
    if (other === pool || !other.isOpen || !other.tokens) continue
    level += Math.max(0, other.tokens.state.level)
    burst += other.tokens.shape.burst
  }
  return level >= SPARE_SHARE * burst
}
