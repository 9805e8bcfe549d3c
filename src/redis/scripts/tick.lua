-- Hands out what is due, and clears up after gateways and tickets that are gone.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway; it counts as heard
-- replies   { napMs, {}, grants } (see acquire.lua)
-- errors    NOSTATE
local MOST_SWEPT = 100
local ORPHAN_MS = 5000
local SILENT_MS = 10000
local LEASE_MS = 900000
local SWEEP_MS = 1000
-- Last words and deadlines are kept without what the clock has gone beside those who wait.
local lived = now - room.skewMs

-- Members of a sorted set with `score + ms < untilMs`, in order, at most MOST_SWEPT.
local function before(key, ms, untilMs)
  local found = {}
  local members = call('ZRANGE', key, 0, MOST_SWEPT - 1, 'WITHSCORES')
  for i = 1, #members, 2 do
    if not (tonumber(members[i + 1]) + ms < untilMs) then break end
    found[#found + 1] = members[i]
  end
  return found
end

-- Tickets of gateways that are silent, then those long past their deadline; the others at the next tick.
local function sweepTickets(silent)
  local ids = {}
  local seen = {}
  local function add(id)
    if seen[id] or #ids == MOST_SWEPT then return end
    seen[id] = true
    ids[#ids + 1] = id
  end
  for _, gateway in ipairs(silent) do
    for _, id in ipairs(call('ZRANGE', gatewayKey('waiting', gateway), 0, MOST_SWEPT - 1)) do add(id) end
  end
  for _, ranked in ipairs(before(PREFIX .. 'deadlines', ORPHAN_MS, lived)) do add(idOf(ranked)) end
  for _, id in ipairs(ids) do
    local ticket = waiters.ticket(room, id)
    waiters.drop(room, ticket)
    line.leave(room, ticket, now)
  end
end

local function sweep()
  local silent = before(PREFIX .. 'gateways', SILENT_MS, lived)
  if room.waiting > 0 then sweepTickets(silent) end
  for _, gateway in ipairs(silent) do
    if call('EXISTS', gatewayKey('waiting', gateway)) == 0 then call('ZREM', PREFIX .. 'gateways', gateway) end
  end
  departed.sweep(now)
  for _, id in ipairs(before(PREFIX .. 'held-since', LEASE_MS, now)) do records.endReservation(id) end
end

call('ZADD', PREFIX .. 'gateways', lived, GATEWAY)
if lived >= room.sweptMs + SWEEP_MS or lived < room.sweptMs then
  room.sweptMs = lived
  sweep()
end
replies.pump(room, now)
return replies.finish(room, {}, {})
