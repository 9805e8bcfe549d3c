-- The twin of domain/bucket.ts and domain/pool.ts: two buckets, a purse and a gate. A bucket that is nil is unlimited.
local OPEN_TO_ALL, SHUT = -1, 0
local LONGEST_HOLD_MS = 4000
local LONGEST_PAID_MS = 120000
local CLOCK_STEP_MS = 2000
local MINUTE_MS = 60000
local TRIFLE = 1e-6

local function shapeBucket(level, asOfMs, stockedAtMs, quota, burstShare)
  local burst = max(quota * burstShare, 1)
  local slowRate = quota * (1 - burstShare) / MINUTE_MS
  return {
    level = level,
    asOfMs = asOfMs,
    stockedAtMs = stockedAtMs,
    quota = quota,
    burst = burst,
    stock = min(burst, max(quota * 0.02, 1)),
    slowRate = slowRate,
    fastRate = max(slowRate, quota * (1 - 0.02) / MINUTE_MS),
  }
end

local function phases(bucket, elapsedMs)
  local leadMs = min(elapsedMs, max(0, bucket.stockedAtMs + MINUTE_MS - bucket.asOfMs))
  local reached = bucket.level + leadMs * bucket.slowRate
  if reached >= bucket.stock then return elapsedMs, 0 end
  local fastMs = min(elapsedMs - leadMs, (bucket.stock - reached) / bucket.fastRate)
  return elapsedMs - fastMs, fastMs
end

local function refillBucket(bucket, nowMs)
  local elapsedMs = nowMs - bucket.asOfMs
  if elapsedMs < -CLOCK_STEP_MS then
    bucket.asOfMs = nowMs
    bucket.stockedAtMs = nowMs
  end
  if elapsedMs <= 0 then return end
  local slowMs, fastMs = phases(bucket, elapsedMs)
  bucket.level = min(bucket.burst, bucket.level + slowMs * bucket.slowRate + fastMs * bucket.fastRate)
  bucket.asOfMs = nowMs
  if bucket.level > bucket.stock then bucket.stockedAtMs = nowMs end
end

local pools = setmetatable({ function(pools)
  function pools.take(pool, tokens, fromPurse, nowMs)
    if pool.requests then pool.requests.level = pool.requests.level - 1 end
    if pool.gate > 0 then pool.gate = pool.gate - 1 end
    if fromPurse then
      pool.purse = pool.purse - tokens
      if pool.tokens then pool.paidUntilMs = max(pool.paidUntilMs, nowMs) + tokens / pool.tokens.slowRate end
    elseif pool.tokens then
      pool.tokens.level = pool.tokens.level - tokens
    end
  end

  -- From the bucket into the purse, or, below 0, back.
  function pools.save(pool, tokens)
    local bucket = pool.tokens
    if not bucket then return end
    pool.purse = pool.purse + tokens
    bucket.level = min(bucket.burst, bucket.level - tokens)
  end

  -- Nothing is left of what was saved up; debts stay.
  function pools.empty(pool)
    pool.purse = 0
    if pool.requests then pool.requests.level = min(0, pool.requests.level) end
    if pool.tokens then pool.tokens.level = min(0, pool.tokens.level) end
  end

  local function msUntil(bucket, wanted)
    local missing = min(wanted, bucket.burst) - bucket.level
    if missing <= 0 then return 0 end
    local atSlowMs = missing / bucket.slowRate
    local slowMs, fastMs = phases(bucket, atSlowMs)
    local gained = fastMs * (bucket.fastRate - bucket.slowRate)
    if gained <= 0 then return atSlowMs end
    local leadMs = max(0, bucket.stockedAtMs + MINUTE_MS - bucket.asOfMs)
    local beforeFast = bucket.level + leadMs * bucket.slowRate
    local atFastMs = (min(wanted, bucket.stock) - beforeFast) / bucket.fastRate
    if wanted <= bucket.stock then return leadMs + atFastMs end
    return slowMs + fastMs - gained / bucket.slowRate
  end

  local function isShort(bucket, wanted)
    return bucket.level < min(wanted, bucket.burst) - TRIFLE
  end

  local function msUntilLevel(bucket, wanted)
    return isShort(bucket, wanted) and msUntil(bucket, wanted) or 0
  end

  local function msUntilRequest(pool, left, nowMs)
    local requests = pool.requests
    local requestsMs = requests and msUntilLevel(requests, 1 + left * requests.burst) or 0
    return max(requestsMs, pool.heldUntilMs - nowMs, 0)
  end

  local function msUntilFits(pool, tokens, left, nowMs)
    local bucket = pool.tokens
    return max(msUntilRequest(pool, left, nowMs), bucket and msUntilLevel(bucket, tokens + left * bucket.burst) or 0)
  end

  local function waterSeconds(pool, tokens)
    local requests, bucket = pool.requests, pool.tokens
    return min(
      requests and (requests.level - 1) / requests.quota * 60 or INFINITY,
      bucket and (bucket.level - tokens) / bucket.quota * 60 or INFINITY
    )
  end

  -- `tokens`: nil when they are in the purse.
  function pools.noteBlocked(pool, tokens, left)
    local requests, bucket = pool.requests, pool.tokens
    if requests and isShort(requests, 1 + left * requests.burst) then pool.requestsLimit = 1 end
    if tokens and bucket and isShort(bucket, tokens + left * bucket.burst) then pool.tokensLimit = 1 end
  end

  pools.msUntilRequest = msUntilRequest
  pools.msUntilFits = msUntilFits

  -- `bestFit` of turns.ts.
  function pools.bestFit(able, tokens, left, nowMs)
    local best
    local bestWater = -INFINITY
    for _, pool in ipairs(able) do
      if msUntilFits(pool, tokens, left, nowMs) <= 0 then
        local water = waterSeconds(pool, tokens)
        if not best or water > bestWater then
          best = pool
          bestWater = water
        end
      end
    end
    return best
  end
end }, LAZY)
