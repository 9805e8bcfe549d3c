-- A batch of tickets the upstream throttled: each goes back to the head of its user's line; its reservation is spent.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3…]  ticket ids
-- replies   { napMs, results, grants } (see acquire.lua); a result is one of acquire's (refused: always 'wait-too-long'), or
--           { 'unknown' }: no such reservation
-- errors    NOSTATE
local MAX_REQUEUES = 3
local BAR_MS = 10000
local SHORTEST_HOLD_MS = 500

-- From the pool that throttled it, if another can take it; else that pool rests, longer each time.
local function keepAway(ticket, poolName)
  for _, pool in ipairs(room.pools) do
    if pool.name ~= poolName and pool.gate ~= SHUT and ticket.tokens <= pool.mostTokens then
      ticket.barred[#ticket.barred + 1] = { pool = poolName, untilMs = now + BAR_MS }
      return
    end
  end
  local pool = rooms.poolNamed(room, poolName)
  if not pool then return end
  local holdMs = min(SHORTEST_HOLD_MS * 2 ^ ticket.requeues, LONGEST_HOLD_MS)
  pool.heldUntilMs = max(pool.heldUntilMs, now + holdMs)
end

local function requeue(id)
  local ticket, poolName, cost = records.endReservation(id)
  if not ticket then return { 'unknown' } end
  call('ZADD', PREFIX .. 'gateways', now - room.skewMs, ticket.gateway)
  keepAway(ticket, poolName)
  if ticket.requeues >= MAX_REQUEUES or ticket.deadlineMs <= now - room.skewMs then
    replies.pump(room, now)
    return prospects.refused(room, 'wait-too-long', ticket, now)
  end
  ticket.requeues = ticket.requeues + 1
  waiters.keep(room, ticket)
  line.rejoin(room, ticket, cost, now)
  replies.pump(room, now)
  local pool = records.reservationOf(id)
  return pool and { 'granted', pool } or { 'waiting', 0 }
end

local results, told = {}, {}
for i = 3, #ARGV do
  local result = requeue(ARGV[i])
  if result[1] == 'granted' then told[ARGV[i]] = true end
  results[#results + 1] = result
end
return replies.finish(room, results, told)
