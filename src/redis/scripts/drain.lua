-- Nothing is known of what was spent meanwhile: every pool has only what flows in from now on. Nobody gets a turn by it.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- replies   { napMs, {}, grants } (see acquire.lua)
-- errors    NOSTATE
for _, pool in ipairs(room.pools) do pools.empty(pool) end
return replies.finish(room, {}, {})
