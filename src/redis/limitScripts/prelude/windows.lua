-- What the two algorithms share that count by the clock's minute: where their counts live, a of this one, b of the last.
local law = {}
-- Each brings its own.
local KEY, giveBack

local function windowOf(atMs)
  return floor(atMs / WINDOW_MS)
end

function law.load(name)
  local meter = { name = name, asOfMs = nowMs, a = 0, b = 0 }
  local packed = call('HGET', KEY, name)
  if packed then meter.asOfMs, meter.a, meter.b = parse('<ddd', packed) end
  return meter
end

function law.save(meter, resetMs)
  call('HSET', KEY, meter.name, pack('<ddd', meter.asOfMs, meter.a, meter.b))
  keepFor(KEY, resetMs)
end

function law.resetMs(meter, limit)
  return law.msUntil(meter, limit, limit)
end

function law.take(meter, _, amount)
  meter.a = meter.a + amount
  return meter.asOfMs
end

function law.settle(meter, limit, takenMs, reserved, charged)
  if charged > reserved then
    law.take(meter, limit, charged - reserved)
  else
    giveBack(meter, reserved - charged, takenMs)
  end
end
