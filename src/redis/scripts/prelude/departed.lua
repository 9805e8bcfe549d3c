-- The twin of domain/departed.ts: who left the line without a turn, and may come back.
local departed = setmetatable({ function(departed)
  local KEPT_MS = 60000
  local MOST = 10000
  local PRUNED, SWEPT = 2, 100
  -- number leftMs, what it lagged behind as a user and as a client
  local DEPARTURE = '<dddd'

  local function nameOf(ask)
    return format('%s:%s', flowName(ask.rank, ask.client, format('%d:%s', #ask.user, ask.user)), ask.invocation)
  end

  local function forget(name)
    call('HDEL', PREFIX .. 'departed', name)
    call('ZREM', PREFIX .. 'departed-order', name)
  end

  -- Of those who left first, at most so many, while they are too old or too many.
  local function prune(most, nowMs)
    local tooMany = call('ZCARD', PREFIX .. 'departed-order') - MOST
    for i, name in ipairs(call('ZRANGE', PREFIX .. 'departed-order', 0, most - 1)) do
      local _, leftMs = parse(DEPARTURE, call('HGET', PREFIX .. 'departed', name))
      if i > tooMany and math.abs(nowMs - leftMs) < KEPT_MS then return end
      forget(name)
    end
  end

  function departed.keep(room, ticket, nowMs, userLagS, clientLagS)
    local name = nameOf(ticket)
    room.departures = room.departures + 1
    call('HSET', PREFIX .. 'departed', name, pack(DEPARTURE, ticket.number, nowMs, userLagS, clientLagS))
    call('ZADD', PREFIX .. 'departed-order', room.departures, name)
    prune(PRUNED, nowMs)
  end

  -- Its number and what it lagged behind, once; nil when it did not leave lately.
  function departed.take(ask, nowMs)
    local name = nameOf(ask)
    local packed = call('HGET', PREFIX .. 'departed', name)
    if not packed then return nil end
    forget(name)
    local number, leftMs, userLagS, clientLagS = parse(DEPARTURE, packed)
    if math.abs(nowMs - leftMs) >= KEPT_MS then return nil end
    return number, userLagS, clientLagS
  end

  function departed.sweep(nowMs)
    prune(SWEPT, nowMs)
  end
end }, LAZY)
