-- What every script of clients' limits begins with: the time that holds, the names of keys, and where a meter's state lives.
-- All keys begin with KEYS[1], the client's prefix, and so share its hash tag; each ends by itself once it says nothing more.
--
--   limits:<algorithm>                   HASH  limit (`requests`, `tokens`) -> packed state of its meter
--   limits:sliding-window-log:<limit>    HASH  slot of 60 ms -> packed entry; `head` -> packed state
--   in-flight                            ZSET  call by the end of its lease, ms
--
-- The meters are those of src/domain/limits, digit for digit: whole numbers only, which doubles hold exactly.
local call, format, pack, parse = redis.call, string.format, struct.pack, struct.unpack
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil
local PREFIX = KEYS[1]
local IN_FLIGHT = PREFIX .. 'in-flight'
local WINDOW_MS, CLOCK_STEP_MS = 60000, 2000
-- What is kept longer than it counts, for clocks that differ.
local GRACE_MS = 60000

local nowMs
if ARGV[1] ~= '' then
  nowMs = tonumber(ARGV[1])
else
  local time = call('TIME')
  nowMs = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

-- `heldMs` of meter.ts.
local function heldMs(asOfMs)
  return nowMs < asOfMs - CLOCK_STEP_MS and nowMs or max(asOfMs, nowMs)
end

local function windowOf(atMs)
  return floor(atMs / WINDOW_MS)
end

-- A key that nobody touches ends when it says nothing more; it is told so once a minute, not at every call.
local function keepFor(key, resetMs)
  if call('PTTL', key) < resetMs + GRACE_MS then call('PEXPIRE', key, resetMs + 2 * GRACE_MS) end
end
