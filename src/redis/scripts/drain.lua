-- Nothing is known of what was spent meanwhile: every pool has only what flows in from now on. Nobody gets a turn by it.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- replies   { napMs, {}, grants } (see acquire.lua)
-- errors    NOSTATE
for _, pool in ipairs(room.pools) do
  pool.purse = 0
  if pool.requests then pool.requests.level = min(0, pool.requests.level) end
  if pool.tokens then pool.tokens.level = min(0, pool.tokens.level) end
end
return replies.finish(room, {}, {})
