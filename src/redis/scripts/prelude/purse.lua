-- The twin of domain/purse.ts: how large tickets are saved for.
local purses = setmetatable({ function(purses)
  local MOST_LARGE = 8
  local PURSE_SHARE = 0.5
  local SPARE_SHARE = 0.5

  local function ablePools(room, ticket, nowMs)
    local able = {}
    for _, pool in ipairs(room.pools) do
      local isBarred = false
      for _, bar in ipairs(ticket.barred) do
        isBarred = isBarred or bar.pool == pool.name and bar.untilMs > nowMs
      end
      if pool.gate ~= SHUT and ticket.tokens <= pool.mostTokens and not isBarred then able[#able + 1] = pool end
    end
    return able
  end

  purses.ablePools = ablePools

  -- The first members of a sorted set in which large ones rank; `owner.firstLarge` holds them until that changes.
  local function largeOf(owner, key)
    owner.firstLarge = owner.firstLarge or call('ZRANGE', key, 0, MOST_LARGE - 1)
    return owner.firstLarge
  end

  -- `owedS` of fairQueue.ts.
  local function owedS(room, queue, client, ticket)
    local head = client.smalls > 0 and waiters.memberAt(client, clientKey('small', queue.rank, client.name), 1)
      or largeOf(client, clientKey('large', queue.rank, client.name))[1]
    local first = waiters.user(client, waiters.ticket(room, idOf(head)).user)
    local user = waiters.user(client, ticket.user)
    return client.weight * (queue.virtualS - client.tag) + (max(client.virtualS, first.tag) - user.tag)
  end

  local function finishesFirst(a, b)
    if a.leftS ~= b.leftS then return a.leftS < b.leftS end
    return a.ticket.number < b.ticket.number
  end

  local function firstLarge(room, queue)
    local heads = {}
    if queue.larges == 0 then return heads end
    local clients = largeOf(queue, rankKey('large', queue.rank))
    local each = floor(MOST_LARGE / max(1, #clients))
    for _, name in ipairs(clients) do
      local client = records.client(queue, name)
      local firsts = largeOf(client, clientKey('large', queue.rank, name))
      for i = 1, min(each, #firsts) do
        local ticket = waiters.ticket(room, idOf(firsts[i]))
        local owed = owedS(room, queue, client, ticket)
        local leftS = (rooms.costS(room, ticket.tokens) - owed) / client.weight
        heads[#heads + 1] = { ticket = ticket, leftS = leftS, owedS = owed }
      end
    end
    table.sort(heads, finishesFirst)
    return heads
  end

  local function saverOf(room, ticket, able, claims)
    if ticket.saverEpoch == room.epoch then
      for _, pool in ipairs(able) do
        if pool.name == ticket.saver then return pool end
      end
    end
    local best
    local bestLoad = INFINITY
    for _, pool in ipairs(able) do
      local before = 0
      for _, claim in ipairs(claims[pool]) do before = before + claim.saving.ticket.tokens end
      local load = (before + ticket.tokens - pool.purse) / (pool.tokens and pool.tokens.quota or INFINITY)
      if load < bestLoad then
        best = pool
        bestLoad = load
      end
    end
    local chosen = best or able[1]
    ticket.saver = chosen.name
    ticket.saverEpoch = room.epoch
    ticket.isDirty = true
    return chosen
  end

  local function claimAll(room, rank, above, claims, nowMs)
    local queue = room.queues[rank]
    local savings = {}
    for index, head in ipairs(firstLarge(room, queue)) do
      local ticket = head.ticket
      local able = ablePools(room, ticket, nowMs)
      if #able > 0 then
        local pool = saverOf(room, ticket, able, claims)
        local cost = rooms.costS(room, ticket.tokens)
        local byFloor = rooms.floorAllows(room, rank, cost)
        local isFirst = index == 1 and queue.smalls == 0
        local duePart = isFirst and 1 or min(1, max(0, head.owedS / cost))
        local saving = { ticket = ticket, pool = pool, isNext = false, isDue = duePart >= 1 }
        savings[#savings + 1] = saving
        local dueTokens = ticket.tokens * duePart
        if above > 0 and not byFloor then dueTokens = 0 end
        local ofPool = claims[pool]
        ofPool[#ofPool + 1] = { saving = saving, byFloor = byFloor, dueTokens = dueTokens }
      end
    end
    return savings
  end

  local function mayLend(pools, pool, nowMs)
    local bucket = pool.tokens
    if nowMs < pool.paidUntilMs then return false end
    if pool.requests and pool.requests.level < 1 - TRIFLE then return false end
    if bucket.level + pool.purse < bucket.burst - TRIFLE then return false end
    local level = 0
    local burst = 0
    for _, other in ipairs(pools) do
      if other ~= pool and other.gate ~= SHUT and other.tokens then
        level = level + max(0, other.tokens.level)
        burst = burst + other.tokens.burst
      end
    end
    return level >= SPARE_SHARE * burst
  end

  local function nextClaim(claims)
    for _, claim in ipairs(claims) do
      if claim.byFloor and claim.dueTokens >= claim.saving.ticket.tokens then return claim end
    end
    return claims[1]
  end

  local function fund(room, pool, claims, waiting, nowMs)
    local following = nextClaim(claims)
    local bucket = pool.tokens
    if not following or not bucket then
      if pool.purse > 0 then pools.save(pool, -pool.purse) end
      return
    end
    local ticket = following.saving.ticket
    following.saving.isNext = true
    local cap = max(bucket.quota * PURSE_SHARE, ticket.tokens)
    local dueTokens = 0
    for _, claim in ipairs(claims) do dueTokens = dueTokens + claim.dueTokens end
    local target = min(dueTokens, cap)
    local keep = max(target, min(pool.purse, cap))
    if pool.purse > keep then pools.save(pool, keep - pool.purse) end
    if waiting == 1 and mayLend(room.pools, pool, nowMs) then
      if ticket.tokens > pool.purse then pools.save(pool, ticket.tokens - pool.purse) end
      return
    end
    local left = following.byFloor and 0 or rooms.headroom(room, ticket.rank, nowMs) * bucket.burst
    local move = min(target - pool.purse, bucket.level - left)
    if move > 0 then pools.save(pool, move) end
  end

  -- Moves water between buckets and purses; returns the savings of each class, or nil when no large ticket waits.
  function purses.fundAll(room, nowMs)
    local queues = room.queues
    if queues[0].larges + queues[1].larges + queues[2].larges == 0 then
      for _, pool in ipairs(room.pools) do
        if pool.purse > 0 then pools.save(pool, -pool.purse) end
      end
      return nil
    end
    local claims = {}
    for _, pool in ipairs(room.pools) do claims[pool] = {} end
    local savings = {}
    local above = 0
    for rank = 0, 2 do
      savings[rank] = claimAll(room, rank, above, claims, nowMs)
      above = above + room.queues[rank].waiting
    end
    for _, pool in ipairs(room.pools) do
      if pool.gate ~= SHUT then fund(room, pool, claims[pool], above, nowMs) end
    end
    return savings
  end
end }, LAZY)
