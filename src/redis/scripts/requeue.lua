-- A batch of tickets the upstream threw back: each goes to the head of its user's line; its reservation is spent, but for the
-- tokens that were not charged.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3…]  two an item: ticket id, charged tokens ('' = it was throttled, and nothing comes back)
-- replies   { napMs, results, grants } (see acquire.lua); a result is one of acquire's (refused: always 'wait-too-long'), or
--           { 'unknown' }: no such reservation
-- errors    NOSTATE
local MAX_REQUEUES = 3
local BAR_MS = 10000
local SHORTEST_HOLD_MS = 500

local function isBarred(ticket, poolName)
  for _, bar in ipairs(ticket.barred) do
    if bar.pool == poolName and bar.untilMs > now then return true end
  end
  return false
end

-- From the pool that threw it back, if another can take it; when all others have thrown it back lately too, from this one
-- alone. Then that pool rests after a throttle, longer each time.
local function keepAway(ticket, poolName, isThrottled)
  local others, areAllBarred = false, true
  for _, pool in ipairs(room.pools) do
    if pool.name ~= poolName and pool.gate ~= SHUT and ticket.tokens <= pool.mostTokens then
      others = true
      if not isBarred(ticket, pool.name) then areAllBarred = false end
    end
  end
  local pool = rooms.poolNamed(room, poolName)
  if areAllBarred and pool and isThrottled then
    local holdMs = min(SHORTEST_HOLD_MS * 2 ^ ticket.requeues, LONGEST_HOLD_MS)
    pool.heldUntilMs = max(pool.heldUntilMs, now + holdMs)
  end
  if areAllBarred then ticket.barred = {} end
  if others then ticket.barred[#ticket.barred + 1] = { pool = poolName, untilMs = now + BAR_MS } end
end

local function requeue(id, chargedTokens)
  local ticket, poolName, cost = records.endReservation(id)
  if not ticket then return { 'unknown' } end
  call('ZADD', PREFIX .. 'gateways', now - room.skewMs, ticket.gateway)
  local pool = rooms.poolNamed(room, poolName)
  local bucket = pool and pool.tokens
  if bucket then bucket.level = min(bucket.burst, bucket.level + (ticket.tokens - (chargedTokens or ticket.tokens))) end
  keepAway(ticket, poolName, not chargedTokens)
  local isOver = ticket.requeues >= MAX_REQUEUES or ticket.deadlineMs <= now - room.skewMs
  ticket.requeues = ticket.requeues + 1
  waiters.keep(room, ticket)
  line.rejoin(room, ticket, cost, now)
  -- Its flow has back what it paid, and whoever asks again its place.
  if isOver then
    waiters.drop(room, ticket)
    line.leave(room, ticket, now)
  end
  replies.pump(room, now)
  if isOver then return prospects.refused(room, 'wait-too-long', ticket, now) end
  local granted = records.reservationOf(id)
  return granted and { 'granted', granted } or { 'waiting', 0 }
end

local results, told = {}, {}
for i = 3, #ARGV, 2 do
  local result = requeue(ARGV[i], tonumber(ARGV[i + 1]))
  if result[1] == 'granted' then told[ARGV[i]] = true end
  results[#results + 1] = result
end
return replies.finish(room, results, told)
