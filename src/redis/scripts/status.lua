-- The room as it stands: src/redis/roomStatus.ts reads the reply into a RoomSnapshot. Brings levels up to now; no turns.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway (its outbox stays)
-- ARGV[3]   at most so many flows, those with most tickets waiting; and at most so many clients a class
-- replies   { asOfMs, reserved, gateways, epoch, pools, classes, meter, clients, flows, napMs }; fractions as text, '' = none
--   pools    { name, gate, heldUntilMs, purse, requests, tokens }; the last two {} when unlimited, else
--            { level, asOfMs, stockedAtMs, quotaPerMinute, burst }
--   classes  { waiting, virtualS, credit, waitingCostS, waitingWeight, askedMs, servedPerS }
--   meter    { startMs, hasPrevious, current × 3, previous × 3, reserved, charged }
--   clients  { rank, client, waiting, weight, tag, stamp, virtualS, users }
--   flows    { rank, client, user, waiting, tag }
-- errors    NOSTATE
local most = tonumber(ARGV[3])
local SILENT_MS = 10000

local function fraction(number)
  return format('%.17g', number)
end

local function bucketRow(bucket)
  if not bucket then return {} end
  return {
    fraction(bucket.level), fraction(bucket.asOfMs), fraction(bucket.stockedAtMs), fraction(bucket.quota),
    fraction(bucket.burst),
  }
end

local function poolRow(pool)
  return {
    pool.name, pool.gate, fraction(pool.heldUntilMs), fraction(pool.purse), bucketRow(pool.requests),
    bucketRow(pool.tokens),
  }
end

local function classRow(queue)
  return {
    queue.waiting, fraction(queue.virtualS), fraction(queue.credit), fraction(queue.waitingCostS),
    fraction(queue.waitingWeight), queue.askedMs > -INFINITY and fraction(queue.askedMs) or '',
    fraction(prospects.servedPerS(room, queue.rank, now) or 0),
  }
end

-- By their bytes, in any locale.
local function isBefore(a, b)
  for i = 1, min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end

local function clientRows(queue, rows)
  local clients = {}
  for _, name in ipairs(most > 0 and call('HKEYS', rankKey('clients', queue.rank)) or {}) do
    clients[#clients + 1] = records.client(queue, name)
  end
  table.sort(clients, function(a, b)
    if a.waiting ~= b.waiting then return a.waiting > b.waiting end
    return isBefore(a.name, b.name)
  end)
  for i = 1, min(most, #clients) do
    local client = clients[i]
    local minutes = max(0, floor((now - client.servedAsOfMs) / MINUTE_MS))
    rows[#rows + 1] = {
      queue.rank, client.name, client.waiting, fraction(client.weight), fraction(client.tag), fraction(client.stamp),
      fraction(client.virtualS), client.users, fraction(client.servedS / 2 ^ minutes),
    }
  end
end

local function flowRows()
  local rows = {}
  local flows = most > 0 and call('ZREVRANGE', PREFIX .. 'flows', 0, most - 1, 'WITHSCORES') or {}
  for i = 1, #flows, 2 do
    local rank, length, rest = flows[i]:match('^(%d):(%d+):(.*)$')
    local name, userName = rest:sub(1, tonumber(length)), rest:sub(tonumber(length) + 2)
    local user = waiters.user(records.client(room.queues[tonumber(rank)], name), userName)
    rows[#rows + 1] = { tonumber(rank), name, userName, user.tickets, fraction(user.tag) }
  end
  return rows
end

local function heardLately()
  local count = 0
  local heard = call('ZRANGE', PREFIX .. 'gateways', 0, -1, 'WITHSCORES')
  for i = 2, #heard, 2 do
    if tonumber(heard[i]) + SILENT_MS >= now - room.skewMs then count = count + 1 end
  end
  return count
end

local pools, classes, clients = {}, {}, {}
for i, pool in ipairs(room.pools) do pools[i] = poolRow(pool) end
local meter = { fraction(room.startMs), room.hasPrevious and 1 or 0 }
for rank = 0, 2 do
  local queue = room.queues[rank]
  classes[rank + 1] = classRow(queue)
  clientRows(queue, clients)
  meter[3 + rank] = fraction(queue.current)
  meter[6 + rank] = fraction(queue.previous)
end
meter[9] = fraction(room.reserved)
meter[10] = fraction(room.charged)
replies.writeRoom(room)
return {
  fraction(now), call('HLEN', PREFIX .. 'held'), heardLately(), room.epoch, pools, classes, meter, clients, flowRows(),
  replies.napMs(room) and fraction(replies.napMs(room)) or '',
}
