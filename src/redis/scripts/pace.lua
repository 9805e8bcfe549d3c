-- What a pool's quota is believed to be: its buckets refill at that. Costs and bounds stay those of the configured one.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3]   pool; ARGV[4] requests per minute, ARGV[5] tokens per minute: '' = as it was; what is unlimited stays so
-- replies   { napMs, { 1, or 0: no such pool }, grants } (see acquire.lua)
-- errors    NOSTATE

local function believed(bucket, perMinute)
  if not bucket or perMinute == '' then return bucket end
  local after = shapeBucket(0, bucket.asOfMs, bucket.stockedAtMs, tonumber(perMinute), room.burstShare)
  after.level = min(bucket.level, after.burst)
  return after
end

local pool = rooms.poolNamed(room, ARGV[3])
if pool then
  pool.requests = believed(pool.requests, ARGV[4])
  pool.tokens = believed(pool.tokens, ARGV[5])
end
replies.pump(room, now)
return replies.finish(room, { pool and 1 or 0 }, {})
