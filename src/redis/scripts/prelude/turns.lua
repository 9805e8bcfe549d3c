-- The twin of domain/turns.ts: whose turn it is.
local turns = setmetatable({ function(turns)
  local function smallClient(queue, place)
    if queue.smalls < place or place > LOOK_AHEAD then return nil end
    return records.client(queue, waiters.memberAt(queue, rankKey('small', queue.rank), place))
  end

  local function smallTicket(room, client, place)
    if client.smalls < place or place > LOOK_AHEAD then return nil end
    return waiters.ticket(room, idOf(waiters.memberAt(client, clientKey('small', client.rank, client.name), place)))
  end

  local function firstDue(savings)
    for _, saving in ipairs(savings) do
      if saving.isDue then return saving.ticket end
    end
  end

  -- A large one that is due goes before the small ones, lest they spend the floor that is to come to its cost.
  local function order(room, savings)
    local list = {}
    for rank = 2, 1, -1 do
      local large = savings and firstDue(savings[rank])
      local client = not large and smallClient(room.queues[rank], 1)
      local head = large or client and smallTicket(room, client, 1)
      if head and rooms.floorAllows(room, rank, rooms.costS(room, head.tokens)) then
        list[#list + 1] = { rank = rank, byFloor = true, isForLarge = large ~= nil }
      end
    end
    for rank = 0, 2 do
      if room.queues[rank].waiting > 0 then list[#list + 1] = { rank = rank, byFloor = false } end
    end
    return list
  end

  local function allShut(walk)
    for _, pool in ipairs(walk.room.pools) do
      if pool.gate ~= SHUT and not walk.shut[pool] then return false end
    end
    return true
  end

  local function largeTurn(walk, savings)
    for _, saving in ipairs(savings) do
      if saving.isNext and saving.isDue then
        local ticket, pool = saving.ticket, saving.pool
        local missing = ticket.tokens - pool.purse
        local requestMs = pools.msUntilRequest(pool, 0, walk.nowMs)
        if missing <= 0.5 and requestMs == 0 then return { ticket = ticket, pool = pool, fromPurse = true } end
        if missing > 0.5 then pool.tokensLimit = 1 end
        pools.noteBlocked(pool, nil, 0)
        local savedMs = missing > 0 and pool.tokens and missing / pool.tokens.fastRate or 0
        walk.forMs = min(walk.forMs, max(requestMs, savedMs))
      end
    end
  end

  -- A turn, or nil, and whether that is all there is to see.
  local function turnOf(walk, ticket, left, byFloor)
    local able = purses.ablePools(walk.room, ticket, walk.nowMs)
    local free = {}
    for _, pool in ipairs(able) do
      if not walk.shut[pool] then free[#free + 1] = pool end
    end
    local pool = pools.bestFit(free, ticket.tokens, left, walk.nowMs)
    if pool then return { ticket = ticket, pool = pool, fromPurse = false }, true end
    for _, one in ipairs(free) do
      pools.noteBlocked(one, ticket.tokens, left)
      walk.forMs = min(walk.forMs, pools.msUntilFits(one, ticket.tokens, left, walk.nowMs))
    end
    if byFloor then return nil, true end
    for _, one in ipairs(able) do walk.shut[one] = true end
    return nil, allShut(walk)
  end

  local function smallTurn(walk, rank, byFloor)
    local room = walk.room
    local left = byFloor and 0 or rooms.headroom(room, rank, walk.nowMs)
    local queue = room.queues[rank]
    for i = 1, LOOK_AHEAD do
      local client = smallClient(queue, i)
      if not client then return nil end
      for j = 1, LOOK_AHEAD do
        local ticket = smallTicket(room, client, j)
        if not ticket then break end
        local turn, isAll = turnOf(walk, ticket, left, byFloor)
        if turn or isAll then return turn end
      end
    end
  end

  -- The next turn, or nil and for how long there is none.
  function turns.nextTurn(room, nowMs)
    local savings = purses.fundAll(room, nowMs)
    local walk = { room = room, nowMs = nowMs, shut = {}, forMs = INFINITY }
    for _, one in ipairs(order(room, savings)) do
      local turn = savings and largeTurn(walk, savings[one.rank])
      if not turn and not one.isForLarge then turn = smallTurn(walk, one.rank, one.byFloor) end
      if turn then return turn end
      if allShut(walk) then break end
    end
    return nil, walk.forMs
  end
end }, LAZY)
