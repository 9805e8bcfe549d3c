-- `SlidingWindowLog` of slidingWindowLog.ts. Entries are fields by their slot, so that a call touches its own and those that
-- have expired since the last one; a refusal reads them all, 1,001 at most. Empty: `oldest` is above `newest`.
local SLOT_MS = 60
local law = {}

local function slotOf(atMs)
  return floor(atMs / SLOT_MS)
end

local function field(slot)
  return format('%.0f', slot)
end

local function read(meter, from, to)
  local fields = {}
  for slot = from, to do fields[#fields + 1] = field(slot) end
  return #fields > 0 and call('HMGET', meter.key, unpack(fields)) or {}
end

local function write(meter, slot, atMs, amount)
  call('HSET', meter.key, field(slot), pack('<dd', atMs, amount))
end

function law.load(name)
  local key = format('%slimits:sliding-window-log:%s', PREFIX, name)
  local meter = { key = key, asOfMs = nowMs, total = 0, oldest = 1, newest = 0 }
  local head = call('HGET', key, 'head')
  if head then meter.asOfMs, meter.total, meter.oldest, meter.newest = parse('<dddd', head) end
  return meter
end

function law.save(meter)
  call('HSET', meter.key, 'head', pack('<dddd', meter.asOfMs, meter.total, meter.oldest, meter.newest))
  keepFor(meter.key, WINDOW_MS)
end

local function startOver(meter, atMs)
  call('DEL', meter.key)
  meter.oldest = slotOf(atMs)
  meter.newest = meter.oldest
  write(meter, meter.newest, atMs, meter.total)
end

function law.advance(meter)
  local heldAtMs = heldMs(meter.asOfMs)
  if heldAtMs < meter.asOfMs then startOver(meter, heldAtMs) end
  meter.asOfMs = heldAtMs
  local expiredMs = heldAtMs - WINDOW_MS
  local last = min(meter.newest, slotOf(expiredMs))
  for index, packed in ipairs(read(meter, meter.oldest, last)) do
    local slot = meter.oldest
    if packed then
      local atMs, amount = parse('<dd', packed)
      if atMs > expiredMs then return end
      meter.total = meter.total - amount
      call('HDEL', meter.key, field(slot))
    end
    meter.oldest = slot + 1
  end
end

function law.msUntil(meter, limit, amount)
  local over = meter.total + amount - limit
  if over <= 0 then return 0 end
  for _, packed in ipairs(read(meter, meter.oldest, meter.newest)) do
    if packed then
      local atMs, taken = parse('<dd', packed)
      over = over - taken
      if over <= 0 then return atMs + WINDOW_MS - meter.asOfMs end
    end
  end
  return WINDOW_MS
end

function law.resetMs(meter)
  if meter.total == 0 then return 0 end
  return parse('<dd', call('HGET', meter.key, field(meter.newest))) + WINDOW_MS - meter.asOfMs
end

function law.take(meter, _, amount)
  local slot = slotOf(meter.asOfMs)
  local before = 0
  if meter.oldest > meter.newest then
    meter.oldest = slot
  elseif meter.newest == slot then
    before = select(2, parse('<dd', call('HGET', meter.key, field(slot))))
  end
  meter.newest = slot
  write(meter, slot, meter.asOfMs, before + amount)
  meter.total = meter.total + amount
  return meter.asOfMs
end

local function giveBack(meter, amount, takenMs)
  local slot = slotOf(takenMs)
  local packed = takenMs <= meter.asOfMs and call('HGET', meter.key, field(slot))
  if not packed then return end
  local atMs, taken = parse('<dd', packed)
  local given = min(amount, taken)
  write(meter, slot, atMs, taken - given)
  meter.total = meter.total - given
end

function law.settle(meter, limit, takenMs, reserved, charged)
  if charged > reserved then
    law.take(meter, limit, charged - reserved)
  else
    giveBack(meter, reserved - charged, takenMs)
  end
end

function law.remaining(meter, limit)
  return max(0, limit - meter.total)
end
