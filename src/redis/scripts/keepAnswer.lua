-- An answer is kept in place of an older one; the oldest of the model go first until all of them stay within their bytes.
-- Every value is in the index for as long as it lives, so the index's sum bounds the values: a value may only go before its
-- place in the index does. Where too many would have to go at once nothing is kept: the script stays short.
--
-- KEYS[1]   ZSET  an answer's key by when it was kept, ms
-- KEYS[2]   HASH  an answer's key -> its bytes; '' -> the sum
-- KEYS[3]   the answer's key, under the model's hash tag as the others are
-- ARGV[1]   the value; ARGV[2] its bytes; ARGV[3] longest age, ms; ARGV[4] most bytes
-- replies   1 kept, 0 not
local INDEX, SIZES, KEY = KEYS[1], KEYS[2], KEYS[3]
local value, bytes, maxAgeMs, maxBytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local MOST_DROPPED = 200

local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local sum = tonumber(redis.call('HGET', SIZES, '')) or 0
local dropped = 0

local function drop(key)
  sum = sum - (tonumber(redis.call('HGET', SIZES, key)) or 0)
  redis.call('HDEL', SIZES, key)
  redis.call('ZREM', INDEX, key)
  redis.call('DEL', key)
  dropped = dropped + 1
end

drop(KEY)
for _, key in ipairs(redis.call('ZRANGE', INDEX, '-inf', nowMs - maxAgeMs, 'BYSCORE', 'LIMIT', 0, MOST_DROPPED)) do
  drop(key)
end
while sum + bytes > maxBytes and dropped < MOST_DROPPED do
  local oldest = redis.call('ZRANGE', INDEX, 0, 0)[1]
  if not oldest then break end
  drop(oldest)
end
-- Without its index it can only be the sum that is wrong: Redis was told to forget one of the two.
if redis.call('ZCARD', INDEX) == 0 then sum = 0 end
local fits = sum + bytes <= maxBytes
if fits then
  redis.call('SET', KEY, value, 'PX', maxAgeMs)
  redis.call('ZADD', INDEX, nowMs, KEY)
  redis.call('HSET', SIZES, KEY, bytes)
  sum = sum + bytes
end
redis.call('HSET', SIZES, '', sum)
-- Never sooner than a value, whatever age another gateway's config allows.
for _, key in ipairs({ INDEX, SIZES }) do
  redis.call('PEXPIRE', key, maxAgeMs, 'NX')
  redis.call('PEXPIRE', key, maxAgeMs, 'GT')
end
return fits and 1 or 0
