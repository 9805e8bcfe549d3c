-- The twin of domain/board.ts: who holds the lease, and what was told of each pool since the last step. Lost, it begins anew.
local LEASE_MS = 1000
local BOARD = PREFIX .. 'board'
-- sent accepted throttledRequests throttledTokens throttledUnclear succeeded failed tokens, failures in a row, since when, and
-- how many shut it (0: as many as are configured)
local IN_ROW, ROW_SINCE, TO_SHUT = 9, 10, 11

local function readLease()
  local packed = call('HGET', BOARD, 'lease')
  if not packed then return nil end
  local untilMs, holder = parse('<dI4c0', packed)
  local leftMs = untilMs - now
  -- A clock that was set back must not make the lease a long one.
  return leftMs > 0 and leftMs <= LEASE_MS and holder or nil
end

local function writeLease()
  call('HSET', BOARD, 'lease', pack('<dI4c0', now + LEASE_MS, #GATEWAY, GATEWAY))
end

-- By pool's name; of pools that are gone nothing is kept.
local function readTallies()
  local packed = call('HGET', BOARD, 'tallies')
  local known, tallies, at = {}, {}, 1
  while packed and at <= #packed do
    local values = { parse('<I4c0ddddddddddd', packed, at) }
    at = table.remove(values)
    known[table.remove(values, 1)] = values
  end
  for _, pool in ipairs(room.pools) do
    tallies[pool.name] = known[pool.name] or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  end
  return tallies
end

local function writeTallies(tallies)
  local packed = ''
  for _, pool in ipairs(room.pools) do
    packed = pack('<c0I4c0ddddddddddd', packed, #pool.name, pool.name, unpack(tallies[pool.name]))
  end
  call('HSET', BOARD, 'tallies', packed)
end
