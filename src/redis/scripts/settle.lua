-- A batch of reservations ends, each with what was really charged. Exactly once: a second time changes nothing.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3…]  two an item: ticket id, charged tokens
-- replies   { napMs, results, grants } (see acquire.lua); a result is 1, or 0: unknown or settled already
-- errors    NOSTATE

local results = {}
for i = 3, #ARGV, 2 do
  results[#results + 1] = settle(ARGV[i], tonumber(ARGV[i + 1]))
end
return replies.finish(room, results, {})
