-- The answer kept under a key, by Redis's own clock: gateways may disagree on the time.
--
-- KEYS[1]   ZSET  an answer's key by when it was kept, ms (see keepAnswer.lua)
-- KEYS[2]   the answer's key
-- ARGV[1]   longest age, ms
-- replies   { ageMs, value }, or nil: there is none, or it is older
local keptMs = redis.call('ZSCORE', KEYS[1], KEYS[2])
if not keptMs then return false end
local time = redis.call('TIME')
local ageMs = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(keptMs))
if ageMs > tonumber(ARGV[1]) then return false end
local value = redis.call('GET', KEYS[2])
return value and { ageMs, value }
