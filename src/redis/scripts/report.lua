-- One gateway's news of the model's pools, added to those of all. To the gateway that holds the lease, or now takes it, all
-- that was told since the last step, which this is the beginning of.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway; it counts as heard
-- ARGV[3…]  eleven a pool: name, sent, accepted, throttled by requests, by tokens, unclear, succeeded, failed, tokens, failures
--           since the last success, ms since the youngest call was sent that came out well ('' = none); unknown pools are skipped
-- replies   { napMs, { report }, grants } (see acquire.lua); the report: { nowMs, state, gates, pools }; fractions as text
--   gates   flat: name, gate, name, gate, …
--   pools   {} without the lease; else { name, counts and failures as above × 9, gate, requests limit, tokens limit (1: a head
--           was blocked by that bucket since the last step), fill of requests, of tokens }
-- errors    NOSTATE
local tallies = readTallies()

local function fraction(number)
  return format('%.17g', number)
end

-- It is shut when these news end a row of failures that is long enough.
local function take(at)
  local pool = rooms.poolNamed(room, ARGV[at])
  if not pool then return end
  local tally = tallies[pool.name]
  for kind = 1, 8 do tally[kind] = tally[kind] + tonumber(ARGV[at + kind]) end
  local inRow, goodMs = tonumber(ARGV[at + 9]), tonumber(ARGV[at + 10])
  -- What was sent before the row began says nothing of it.
  if goodMs and now - goodMs >= min(tally[ROW_SINCE], now) then tally[IN_ROW] = 0 end
  if tally[IN_ROW] == 0 then tally[ROW_SINCE] = now end
  tally[IN_ROW] = tally[IN_ROW] + inRow
  local most = tally[TO_SHUT] > 0 and tally[TO_SHUT] or room.failures
  return pool.gate == OPEN_TO_ALL and inRow > 0 and tally[IN_ROW] >= most and pool or nil
end

local function fillOf(bucket, saved)
  return fraction(bucket and min(1, (bucket.level + saved) / bucket.burst) or 1)
end

local function handOver(pool)
  local row = { pool.name }
  local tally = tallies[pool.name]
  for kind = 1, IN_ROW do
    row[1 + kind] = fraction(tally[kind])
    if kind < IN_ROW then tally[kind] = 0 end
  end
  row[11], row[12], row[13] = pool.gate, pool.requestsLimit, pool.tokensLimit
  row[14], row[15] = fillOf(pool.requests, 0), fillOf(pool.tokens, pool.purse)
  pool.requestsLimit, pool.tokensLimit = 0, 0
  return row
end

call('ZADD', PREFIX .. 'gateways', now - room.skewMs, GATEWAY)
local failing = {}
for i = 3, #ARGV, 11 do failing[#failing + 1] = take(i) end
for _, pool in ipairs(failing) do adjust(pool, '', '', SHUT) end
replies.pump(room, now)
local gates, rows = {}, {}
for _, pool in ipairs(room.pools) do
  gates[#gates + 1] = pool.name
  gates[#gates + 1] = pool.gate
end
local holder = readLease()
if not holder or holder == GATEWAY then
  writeLease()
  for i, pool in ipairs(room.pools) do rows[i] = handOver(pool) end
end
writeTallies(tallies)
return replies.finish(room, { { fraction(now), call('HGET', BOARD, 'state') or '', gates, rows } }, {})
