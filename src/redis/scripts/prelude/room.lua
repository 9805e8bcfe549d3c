-- The room itself, read in one HMGET and brought up to now, as every script begins: `room` and the time that holds, `now`.
-- The twin of #advance (waitingRoom.ts), roll (serviceMeter.ts), costS (cost.ts), headroom and floorAllows (classes.ts).
local HEADROOM = { [0] = 0, 0.5, 0.7 }
local FLOOR = { [0] = 0, 0.1, 0.05 }
local ACTIVE_MS = 60000
local MAX_CREDIT_S = 6
local LARGE_S = 2
-- No time to wake up at: nobody waits.
local NOBODY = -1

-- In `settings`: two formats, of the rest of it and of `state`; then as configure.lua writes it. In `state`, all doubles:
--   asOfMs entered epoch wakeAtMs, the meter's startMs hasPrevious reserved charged, skewMs sweptMs departures
--   a class: credit askedMs current previous virtualS waiting waitingCostS waitingWeight, clients in `small` and in `large`
--   a pool: gate heldUntilMs paidUntilMs purse; of requests and of tokens: level asOfMs stockedAtMs quota (0: unlimited);
--     requestsLimit tokensLimit: 1 when a head was blocked by the bucket, since the last step
local FORMATS = '<I4c0I4c0'
local CLASSES_AT = 12
local POOL_WIDTH = 14
local LONGEST_SILENCE_MS = 5000

local stored = call('HMGET', PREFIX .. 'room', 'settings', 'state')
if not stored[1] or not stored[2] then
  return redis.error_reply('NOSTATE this model has no settings in Redis: configure it')
end

local function readBucket(state, at, burstShare)
  if state[at + 3] == 0 then return nil end
  return shapeBucket(state[at], state[at + 1], state[at + 2], state[at + 3], burstShare)
end

local room
do
  local settingsFormat, stateFormat, at = parse(FORMATS, stored[1])
  local settings = { parse(settingsFormat, stored[1], at) }
  local state = { parse(stateFormat, stored[2]) }
  local burstShare = settings[3]
  room = {
    version = settings[1], publish = settings[2], burstShare = burstShare, maxWaiting = settings[4],
    maxWaitingPerClient = settings[5], failures = settings[6], requestsPerS = settings[7], tokensPerS = settings[8],
    asOfMs = state[1], entered = state[2], epoch = state[3], wakeAtMs = state[4], startMs = state[5],
    hasPrevious = state[6] == 1, reserved = state[7], charged = state[8], skewMs = state[9], sweptMs = state[10],
    departures = state[11],
    waiting = 0, queues = {}, pools = {},
    -- Waiting tickets met in this call, by id, and false for one that is not known; the call's grants.
    tickets = {}, grants = {},
    state = state, stateFormat = stateFormat,
  }
  at = CLASSES_AT
  for rank = 0, 2 do
    room.queues[rank] = {
      rank = rank, credit = state[at], askedMs = state[at + 1], current = state[at + 2], previous = state[at + 3],
      virtualS = state[at + 4], waiting = state[at + 5], waitingCostS = state[at + 6], waitingWeight = state[at + 7],
      smalls = state[at + 8], larges = state[at + 9], clients = {},
    }
    room.waiting = room.waiting + state[at + 5]
    at = at + 10
  end
  for i = 9, #settings - 1, 3 do
    local most = settings[i + 2]
    room.pools[#room.pools + 1] = {
      name = settings[i], mostTokens = most > 0 and most or INFINITY, gate = state[at], heldUntilMs = state[at + 1],
      paidUntilMs = state[at + 2], purse = state[at + 3],
      requests = readBucket(state, at + 4, burstShare), tokens = readBucket(state, at + 8, burstShare),
      requestsLimit = state[at + 12], tokensLimit = state[at + 13],
    }
    at = at + POOL_WIDTH
  end
end

-- Once a call: a batch is one moment.
local now = clockMs
do
  local elapsedMs = clockMs - room.asOfMs
  if elapsedMs < 0 and elapsedMs >= -CLOCK_STEP_MS then now = room.asOfMs end
  room.asOfMs = now
  local isStep = elapsedMs > LONGEST_SILENCE_MS or elapsedMs < -CLOCK_STEP_MS
  if isStep and room.waiting > 0 then room.skewMs = room.skewMs + elapsedMs end
  for _, pool in ipairs(room.pools) do
    pool.heldUntilMs = min(pool.heldUntilMs, now + LONGEST_HOLD_MS)
    pool.paidUntilMs = min(pool.paidUntilMs, now + LONGEST_PAID_MS)
    if pool.requests then refillBucket(pool.requests, now) end
    if pool.tokens then refillBucket(pool.tokens, now) end
  end
  for rank = 0, 2 do
    local queue = room.queues[rank]
    if queue.waiting == 0 then queue.virtualS = queue.virtualS + max(0, elapsedMs) / 1000 end
  end
  local sinceMs = now - room.startMs
  if sinceMs < 0 or sinceMs >= MINUTE_MS then
    local isNext = sinceMs >= 0 and sinceMs < 2 * MINUTE_MS
    room.startMs = isNext and room.startMs + MINUTE_MS or now
    room.hasPrevious = isNext
    for rank = 0, 2 do
      local queue = room.queues[rank]
      queue.previous = isNext and queue.current or 0
      queue.current = 0
    end
    if isNext then
      room.reserved = room.reserved / 2
      room.charged = room.charged / 2
    end
  end
end

local rooms = setmetatable({ function(rooms)
  function rooms.poolNamed(room, name)
    for _, pool in ipairs(room.pools) do
      if pool.name == name then return pool end
    end
  end

  function rooms.costS(room, tokens)
    return max(1 / room.requestsPerS, tokens / room.tokensPerS)
  end

  function rooms.isLarge(room, tokens)
    return tokens / room.tokensPerS > LARGE_S
  end

  function rooms.headroom(room, rank, nowMs)
    for above = 0, rank - 1 do
      if room.queues[above].askedMs + ACTIVE_MS > nowMs then return HEADROOM[rank] end
    end
    return 0
  end

  function rooms.floorAllows(room, rank, cost)
    return FLOOR[rank] > 0 and room.queues[rank].credit >= min(cost, MAX_CREDIT_S)
  end

  -- Nobody of the same or a higher class waits.
  function rooms.isFree(room, rank)
    for above = 0, rank do
      if room.queues[above].waiting > 0 then return false end
    end
    return true
  end
end }, LAZY)
