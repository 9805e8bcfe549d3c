-- Who may pass a pool: everybody (-1), nobody (0), or so many more requests.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3]   pool; ARGV[4] gate
-- replies   { napMs, { 1 changed, or 0: so already, or no such pool }, grants } (see acquire.lua)
-- errors    NOSTATE
local pool = rooms.poolNamed(room, ARGV[3])
local gate = tonumber(ARGV[4])
local isNew = pool and pool.gate ~= gate
if isNew then
  pool.gate = gate
  room.epoch = room.epoch + 1
  replies.pump(room, now)
end
return replies.finish(room, { isNew and 1 or 0 }, {})
