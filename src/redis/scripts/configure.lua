-- Creates the model's state with empty buckets, or gives it new settings: levels, waiters and reservations stay.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3]   the settings' version, any text: the same as stored changes nothing, so every gateway may say it at its start
-- ARGV[4]   burst share; ARGV[5] max waiting; ARGV[6] max waiting per client; ARGV[7] PUBLISH or SPUBLISH
-- ARGV[8]   failures in a row that shut a pool at once, '' = none do
-- ARGV[9…]  three a pool: name, requests per minute, tokens per minute; '' = unlimited
-- replies   { napMs, { 1 changed or 0 not }, grants } (see acquire.lua)

-- At the new quota; what the bucket held stays, at most the new burst. Unlimited before: it starts empty.
local function resized(bucket, quota, now)
  if quota == 0 then return nil end
  if not bucket then return shapeBucket(0, now, now, quota, BURST_SHARE) end
  local after = shapeBucket(0, bucket.asOfMs, bucket.stockedAtMs, quota, BURST_SHARE)
  after.level = min(bucket.level, after.burst)
  return after
end

local function useSettings(room, now)
  local given = quotas()
  local list = {}
  for i, one in ipairs(given) do
    local pool = rooms.poolNamed(room, one.name) or {
      name = one.name, gate = OPEN_TO_ALL, heldUntilMs = 0, paidUntilMs = 0, purse = 0, requestsLimit = 0,
      tokensLimit = 0,
    }
    pool.mostTokens = one.tokens > 0 and one.tokens or INFINITY
    pool.requests = resized(pool.requests, one.requests, now)
    pool.tokens = resized(pool.tokens, one.tokens, now)
    if not pool.tokens then pool.purse = 0 end
    list[i] = pool
  end
  room.pools = list
  room.publish = ARGV[7]
  room.burstShare = BURST_SHARE
  room.maxWaiting = tonumber(ARGV[5])
  room.maxWaitingPerClient = tonumber(ARGV[6])
  room.failures = FAILURES
  room.requestsPerS = perS(given, 'requests')
  room.tokensPerS = perS(given, 'tokens')
  room.stateFormat = formatOf(given)
  room.state = {}
  for i = 1, 41 + 14 * #given do room.state[i] = 0 end
  writeSettings(given, room.stateFormat)
end

-- Other quotas, other costs: every head is ranked anew. Once a user is enough, whatever its number of tickets.
local function resupply(room)
  local tickets = {}
  local packed = call('HGETALL', PREFIX .. 'tickets')
  for i = 1, #packed, 2 do
    local ticket = records.unpackTicket(packed[i], packed[i + 1], 1)
    room.tickets[ticket.id] = ticket
    tickets[#tickets + 1] = ticket
  end
  table.sort(tickets, function(a, b) return a.number < b.number end)
  for rank = 0, 2 do room.queues[rank].waitingCostS = 0 end
  local ranked = {}
  for _, ticket in ipairs(tickets) do
    local queue = room.queues[ticket.rank]
    local cost = rooms.costS(room, ticket.tokens)
    queue.waitingCostS = queue.waitingCostS + cost
    local client = records.client(queue, ticket.client)
    local user = waiters.user(client, ticket.user)
    if not ranked[user] then
      ranked[user] = true
      user.waitingCostS = 0
      client.isDirty = true
      line.rankUser(room, queue, client, user)
    end
    user.waitingCostS = user.waitingCostS + cost
  end
end

if room.version == ARGV[3] then return replies.finish(room, { isCreated and 1 or 0 }, {}) end
useSettings(room, now)
room.epoch = room.epoch + 1
resupply(room)
replies.pump(room, now)
return replies.finish(room, { 1 }, {})
