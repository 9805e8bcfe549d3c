-- What configure.lua does before the room is read: it makes one where there is none, with empty buckets.
local BURST_SHARE = tonumber(ARGV[4])
local FAILURES = tonumber(ARGV[8]) or INFINITY

local function quotas()
  local list = {}
  for i = 9, #ARGV, 3 do
    list[#list + 1] = { name = ARGV[i], requests = tonumber(ARGV[i + 1]) or 0, tokens = tonumber(ARGV[i + 2]) or 0 }
  end
  return list
end

-- `supplyOf` of cost.ts. Infinity when one pool has no such quota.
local function perS(pools, dimension)
  local sum = 0
  for _, pool in ipairs(pools) do
    sum = sum + (pool[dimension] > 0 and pool[dimension] or INFINITY)
  end
  return sum / 60
end

-- version, publish command, burst share, bounds, failures, supply; a pool: name and quotas, 0 for unlimited. Formats in front.
local function writeSettings(pools, stateFormat)
  local settingsFormat = format('<I4c0I4c0dddddd%s', ('I4c0dd'):rep(#pools))
  local packed = pack(
    '<I4c0I4c0I4c0I4c0dddddd', #settingsFormat, settingsFormat, #stateFormat, stateFormat, #ARGV[3], ARGV[3],
    #ARGV[7], ARGV[7], BURST_SHARE, tonumber(ARGV[5]), tonumber(ARGV[6]), FAILURES,
    perS(pools, 'requests'), perS(pools, 'tokens')
  )
  for _, pool in ipairs(pools) do
    packed = pack('<c0I4c0dd', packed, #pool.name, pool.name, pool.requests, pool.tokens)
  end
  call('HSET', PREFIX .. 'room', 'settings', packed)
end

local function formatOf(pools)
  return format('<%s', ('d'):rep(41 + 14 * #pools))
end

-- As `WaitingRoom`'s constructor; room.lua names the numbers.
local isCreated = call('HEXISTS', PREFIX .. 'room', 'settings') == 0
if isCreated then
  local pools = quotas()
  local state = { clockMs, 0, 0, -1, clockMs, 0, 0, 0, 0, 0, 0 }
  local function add(...)
    for i = 1, select('#', ...) do state[#state + 1] = (select(i, ...)) end
  end
  for _ = 0, 2 do add(0, -INFINITY, 0, 0, 0, 0, 0, 0, 0, 0) end
  for _, pool in ipairs(pools) do
    add(-1, 0, 0, 0, 0, clockMs, clockMs, pool.requests, 0, clockMs, clockMs, pool.tokens, 0, 0)
  end
  local stateFormat = formatOf(pools)
  writeSettings(pools, stateFormat)
  call('HSET', PREFIX .. 'room', 'state', pack(stateFormat, unpack(state)))
end
