-- What a step decided: the next one's state, and what changes of the pools. Nothing, when the lease is not the gateway's any
-- more.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway; it counts as heard
-- ARGV[3]   state, as text
-- ARGV[4…]  five a pool: name, believed requests per minute, tokens per minute ('' = as it was; what is unlimited stays so),
--           gate: everybody (-1), nobody (0), or so many more requests ('' = as it was), failures in a row that
--           shut it ('' = as it was); unknown pools are skipped
-- replies   { napMs, { 1 done, or 0: the lease is another's }, grants } (see acquire.lua)
-- errors    NOSTATE
call('ZADD', PREFIX .. 'gateways', now - room.skewMs, GATEWAY)
if readLease() ~= GATEWAY then return replies.finish(room, { 0 }, {}) end
call('HSET', BOARD, 'state', ARGV[3])
local tallies = readTallies()
for i = 4, #ARGV, 5 do
  local pool = rooms.poolNamed(room, ARGV[i])
  if pool then
    adjust(pool, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
    tallies[pool.name][TO_SHUT] = tonumber(ARGV[i + 4]) or tallies[pool.name][TO_SHUT]
  end
end
writeTallies(tallies)
replies.pump(room, now)
return replies.finish(room, { 1 }, {})
