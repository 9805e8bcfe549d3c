-- What makes a bucket the `LeakyBucket` of leakyBucket.ts.
local KEY = PREFIX .. 'limits:leaky-bucket'
local DEPTH_MS = 1000

local function depth(limit)
  return max(limit * DEPTH_MS, WINDOW_MS)
end

local function room(limit, amount)
  return max(0, depth(limit) - amount * WINDOW_MS)
end

local function remaining(used, limit)
  return max(0, floor((depth(limit) - used) / WINDOW_MS))
end
