-- What makes a bucket the `TokenBucket` of tokenBucket.ts.
local KEY = PREFIX .. 'limits:token-bucket'

local function room(limit, amount)
  return (limit - amount) * WINDOW_MS
end

local function remaining(used, limit)
  return max(0, limit - ceil(used / WINDOW_MS))
end
