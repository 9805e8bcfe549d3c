-- What verbs end with: turns are handed out, the room is written back, grants go to those who wait for them and the caller
-- has its own. The twin of #pump (waitingRoom.ts).
local MOST_GRANTS = 32
local LONGEST_NAP_MS = 1000
local OUTBOX_S = 3600

local replies = setmetatable({ function(replies)
  function replies.pump(room, nowMs)
    if room.waiting == 0 then
      for _, pool in ipairs(room.pools) do
        if pool.purse > 0 then pools.save(pool, -pool.purse) end
      end
      room.wakeAtMs = NOBODY
      return
    end
    for _ = 1, MOST_GRANTS do
      local turn, forMs = turns.nextTurn(room, nowMs)
      if not turn then
        room.wakeAtMs = room.waiting == 0 and NOBODY or nowMs + min(forMs, LONGEST_NAP_MS)
        return
      end
      local ticket, pool = turn.ticket, turn.pool
      pools.take(pool, ticket.tokens, turn.fromPurse, nowMs)
      waiters.drop(room, ticket)
      records.reserve(room, ticket, pool, line.serve(room, ticket, nowMs), nowMs)
      room.grants[#room.grants + 1] = { ticketId = ticket.id, gateway = ticket.gateway, pool = pool.name }
    end
    room.wakeAtMs = nowMs
  end

  -- Fractions of a millisecond and all; nil when nobody waits.
  function replies.napMs(room)
    if room.wakeAtMs == NOBODY then return nil end
    return min(max(0, room.wakeAtMs - room.asOfMs), LONGEST_NAP_MS)
  end

  -- To the outboxes of other gateways, with one hint each; those of the caller into `own`.
  local function deliver(room, own, told)
    local counts = {}
    for _, grant in ipairs(room.grants) do
      local gateway = grant.gateway
      if gateway ~= GATEWAY then
        call('RPUSH', gatewayKey('outbox', gateway), grant.ticketId, grant.pool)
        counts[gateway] = (counts[gateway] or 0) + 1
      elseif not told[grant.ticketId] then
        own[#own + 1] = grant.ticketId
        own[#own + 1] = grant.pool
      end
    end
    for gateway, count in pairs(counts) do
      call('EXPIRE', gatewayKey('outbox', gateway), OUTBOX_S)
      call(room.publish, gatewayKey('grants', gateway), count)
    end
  end

  -- `told`: tickets whose pool is in `results` already.
  local function writeBucket(state, at, bucket)
    if not bucket then return end
    state[at], state[at + 1] = bucket.level, bucket.asOfMs
    state[at + 2], state[at + 3] = bucket.stockedAtMs, bucket.quota
  end

  function replies.writeRoom(room)
    local state = room.state
    state[1], state[2], state[3], state[4] = room.asOfMs, room.entered, room.epoch, room.wakeAtMs
    state[5], state[6], state[7], state[8] = room.startMs, room.hasPrevious and 1 or 0, room.reserved, room.charged
    state[9], state[10], state[11] = room.skewMs, room.sweptMs, room.departures
    local at = CLASSES_AT
    for rank = 0, 2 do
      local queue = room.queues[rank]
      state[at], state[at + 1], state[at + 2] = queue.credit, queue.askedMs, queue.current
      state[at + 3], state[at + 4], state[at + 5] = queue.previous, queue.virtualS, queue.waiting
      state[at + 6], state[at + 7] = queue.waitingCostS, queue.waitingWeight
      state[at + 8], state[at + 9] = queue.smalls, queue.larges
      at = at + 10
    end
    for _, pool in ipairs(room.pools) do
      state[at], state[at + 1], state[at + 2], state[at + 3] = pool.gate, pool.heldUntilMs, pool.paidUntilMs, pool.purse
      writeBucket(state, at + 4, pool.requests)
      writeBucket(state, at + 8, pool.tokens)
      state[at + 12], state[at + 13] = pool.requestsLimit, pool.tokensLimit
      at = at + POOL_WIDTH
    end
    -- Without the position that unpacking left behind the last.
    call('HSET', PREFIX .. 'room', 'state', pack(room.stateFormat, unpack(state, 1, at - 1)))
  end

  function replies.finish(room, results, told)
    records.write(room)
    replies.writeRoom(room)
    local own = {}
    local outbox = gatewayKey('outbox', GATEWAY)
    local waiting = call('LRANGE', outbox, 0, -1)
    if waiting[1] then call('DEL', outbox) end
    for i = 1, #waiting, 2 do
      if not told[waiting[i]] then
        own[#own + 1] = waiting[i]
        own[#own + 1] = waiting[i + 1]
      end
    end
    if room.grants[1] then deliver(room, own, told) end
    return { ceil(replies.napMs(room) or NOBODY), results, own }
  end
end }, LAZY)
