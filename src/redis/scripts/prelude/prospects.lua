-- The twin of domain/prospects.ts and eta.ts: what somebody who asks is told.
local LONGEST_ETA_MS = 3600000
local SHORTEST_RETRY_MS, LONGEST_RETRY_MS = 1000, 300000

local prospects = setmetatable({ function(prospects)
  -- Where one who asked now would stand: cost of its user's tickets before it, users of its client that wait (itself
  -- included), how far its user's and its client's tags are ahead of the virtual times, weights of the clients that wait.
  local function standing(queue, ask)
    local client = records.client(queue, ask.client)
    if not client then return 0, 1, 0, 0, queue.waitingWeight + ask.weight end
    local user = client.users > 0 and waiters.user(client, ask.user)
    local tag = user and user.tag or flows.idleTag(client, ask.user) or 0
    return user and user.waitingCostS or 0, client.users + (user and 0 or 1), max(0, tag - client.virtualS),
      max(0, client.tag - queue.virtualS), queue.waitingWeight + (client.waiting > 0 and 0 or ask.weight)
  end

  -- nil when the class was not served at all.
  function prospects.servedPerS(room, rank, nowMs)
    local queue = room.queues[rank]
    local served = queue.current + (room.hasPrevious and queue.previous or 0)
    if served <= 0 then return nil end
    local spanS = ((room.hasPrevious and MINUTE_MS or 0) + nowMs - room.startMs) / 1000
    return served / max(1, spanS)
  end

  -- `paceOf` of eta.ts.
  local function paceOf(room, rank, nowMs)
    local measured = prospects.servedPerS(room, rank, nowMs)
    if measured then return measured end
    for other = 0, 2 do
      if rank > 0 and prospects.servedPerS(room, other, nowMs) then return 0 end
    end
    return 1
  end

  function prospects.expectedMs(room, ask, nowMs)
    local queue = room.queues[ask.rank]
    local ownS, users, userAheadS, clientAheadS, weights = standing(queue, ask)
    local cost = rooms.costS(room, ask.tokens)
    local itsOwnS = ownS + userAheadS + (rooms.isLarge(room, ask.tokens) and cost or 0)
    local byShareS = clientAheadS * weights + itsOwnS * users * weights / ask.weight
    local aheadS = min(queue.waitingCostS, byShareS) + cost
    local rate = max(paceOf(room, ask.rank, nowMs), FLOOR[ask.rank])
    return min(aheadS / rate * 1000, LONGEST_ETA_MS)
  end

  function prospects.mayNotWait(room, ask, deadlineMs, nowMs)
    if room.waiting >= room.maxWaiting then return 'queue-full' end
    local ofClient = 0
    for rank = 0, 2 do
      local queue = room.queues[rank]
      local client = queue.waiting > 0 and records.client(queue, ask.client)
      ofClient = ofClient + (client and client.waiting or 0)
    end
    if ofClient >= room.maxWaitingPerClient then return 'client-queue-full' end
    local ownS = standing(room.queues[ask.rank], ask)
    local chargedPart = room.reserved > 0 and min(1, room.charged / room.reserved) or 1
    local leastMs = max(0, ownS * chargedPart * 1000 - room.burstShare * MINUTE_MS)
    return nowMs + leastMs > deadlineMs and 'wait-too-long' or nil
  end

  local function shortDimension(room)
    local requests = 0
    local tokens = 0
    for _, pool in ipairs(room.pools) do
      requests = requests + (pool.requests and pool.requests.level or 0)
      tokens = tokens + (pool.tokens and pool.tokens.level or 0)
    end
    local requestsS = room.requestsPerS < INFINITY and requests / room.requestsPerS or INFINITY
    local tokensS = room.tokensPerS < INFINITY and tokens / room.tokensPerS or INFINITY
    return requestsS < tokensS and 'requests' or 'tokens'
  end

  -- Which quota is short, and when to come back.
  function prospects.busy(room, ask, nowMs)
    local retryAfterMs = min(max(prospects.expectedMs(room, ask, nowMs), SHORTEST_RETRY_MS), LONGEST_RETRY_MS)
    return shortDimension(room), ceil(retryAfterMs)
  end

  function prospects.refused(room, obstacle, ask, nowMs)
    return { 'refused', obstacle, prospects.busy(room, ask, nowMs) }
  end
end }, LAZY)
