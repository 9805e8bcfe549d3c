-- A batch of asks: each gets its turn at once, a place in the line, or neither. Asking again for the same ticket tells where
-- it stands, so a gateway that lost a reply asks again. Before them the settlements of the same turn of the gateway's event
-- loop: that saves a call.
--
-- KEYS[1]   the model's prefix, e.g. `sluice:{claude}:`
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME (only tests pass it)
-- ARGV[2]   the calling gateway; it counts as heard
-- ARGV[3]   how many settlements; then two of each: ticket id, charged tokens (no results, see settle.lua)
-- ARGV[…]   eight an item: ticket id, rank (0 high, 1 normal, 2 low), client, weight, user, tokens, for how many ms it may
--           wait, what its client's SDK calls all attempts at it ('' = nothing)
-- replies   { napMs, results, grants }, as every verb but `status`:
--   napMs    when somebody should tick, whole ms; -1 when nobody waits
--   results  one an item: { 'granted', pool } | { 'waiting', etaMs } | { 'refused', obstacle, short, retryAfterMs }
--            obstacle: 'cannot-fit', 'queue-full', 'client-queue-full', 'wait-too-long'; short: 'requests' or 'tokens'
--   grants   the calling gateway's, flat: ticket id, pool, ticket id, pool, …; none that `results` tells already. A ticket
--            that an item left 'waiting' may be among them: a later item of the batch made room for it.
-- errors    NOSTATE: the model has no settings here; configure it, its levels begin at 0

local function granted(id)
  local pool = records.reservationOf(id)
  return pool and { 'granted', pool }
end

local function standing(ask)
  local known = granted(ask.id)
  if known or room.waiting == 0 or not waiters.ticket(room, ask.id) then return known end
  replies.pump(room, now)
  return granted(ask.id) or { 'waiting', ceil(prospects.expectedMs(room, ask, now)) }
end

-- The pool that serves it at once, if any, and whether one could ever.
local function poolAtOnce(ask)
  local able = {}
  local fitsEver = false
  for _, pool in ipairs(room.pools) do
    if ask.tokens <= pool.mostTokens then
      fitsEver = true
      if pool.gate ~= SHUT then able[#able + 1] = pool end
    end
  end
  if not rooms.isFree(room, ask.rank) or rooms.isLarge(room, ask.tokens) then return nil, fitsEver end
  return pools.bestFit(able, ask.tokens, rooms.headroom(room, ask.rank, now), now), fitsEver
end

local function acquire(ask)
  room.queues[ask.rank].askedMs = now
  local known = standing(ask)
  if known then return known end
  local pool, fitsEver = poolAtOnce(ask)
  if not fitsEver then return prospects.refused(room, 'cannot-fit', ask, now) end
  ask.number = room.entered
  room.entered = room.entered + 1
  local deadlineMs = ask.deadlineMs
  ask.deadlineMs = deadlineMs - room.skewMs
  if pool then
    pools.take(pool, ask.tokens, false)
    records.reserve(room, ask, pool, flows.serveAtOnce(room, ask, now), now)
    return { 'granted', pool.name }
  end
  local obstacle = prospects.mayNotWait(room, ask, deadlineMs, now)
  if obstacle then return prospects.refused(room, obstacle, ask, now) end
  local etaMs = ceil(prospects.expectedMs(room, ask, now))
  local number, userLagS, clientLagS
  if ask.invocation ~= '' then number, userLagS, clientLagS = departed.take(ask, now) end
  ask.number = number or ask.number
  waiters.keep(room, ask)
  line.join(room, ask, now, userLagS or 0, clientLagS or 0)
  replies.pump(room, now)
  return granted(ask.id) or { 'waiting', etaMs }
end

call('ZADD', PREFIX .. 'gateways', now - room.skewMs, GATEWAY)
local results, told = {}, {}
local settlements = tonumber(ARGV[3])
for i = 1, settlements do settle(ARGV[2 + 2 * i], tonumber(ARGV[3 + 2 * i])) end
for i = 4 + 2 * settlements, #ARGV, 8 do
  local result = acquire({
    id = ARGV[i], rank = tonumber(ARGV[i + 1]), client = ARGV[i + 2], weight = tonumber(ARGV[i + 3]),
    user = ARGV[i + 4], tokens = tonumber(ARGV[i + 5]), deadlineMs = clockMs + tonumber(ARGV[i + 6]),
    gateway = GATEWAY, clientStamp = 0, userStamp = 0, requeues = 0, barred = {}, saver = '', saverEpoch = -1,
    invocation = ARGV[i + 7],
  })
  if result[1] == 'granted' then told[ARGV[i]] = true end
  results[#results + 1] = result
end
return replies.finish(room, results, told)
