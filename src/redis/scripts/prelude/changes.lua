-- `adjust` of poolBank.ts: what changes of one pool. Quotas: '' = as it was, and what is unlimited stays so; gate: nil = as it
-- was.
local function believed(bucket, perMinute)
  if not bucket or perMinute == '' then return bucket end
  local after = shapeBucket(0, bucket.asOfMs, bucket.stockedAtMs, tonumber(perMinute), room.burstShare)
  after.level = min(bucket.level, after.burst)
  return after
end

local function adjust(pool, requestsPerMinute, tokensPerMinute, gate)
  pool.requests = believed(pool.requests, requestsPerMinute)
  pool.tokens = believed(pool.tokens, tokensPerMinute)
  if not gate or gate == pool.gate then return end
  pool.gate = gate
  room.epoch = room.epoch + 1
end
