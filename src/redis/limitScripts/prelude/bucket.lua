-- `Bucket` of bucket.ts: what the two buckets share.
local law = {}
local PACKED = '<ddddddd'

function law.load(name)
  local meter = { name = name, asOfMs = nowMs, used = 0, calls = 0, fresh = 0, pool = 0, shared = 0, sharing = 0 }
  local packed = call('HGET', KEY, name)
  if packed then
    meter.asOfMs, meter.used, meter.calls, meter.fresh, meter.pool, meter.shared, meter.sharing = parse(PACKED, packed)
  end
  return meter
end

function law.save(meter, resetMs)
  local packed = pack(
    PACKED, meter.asOfMs, meter.used, meter.calls, meter.fresh, meter.pool, meter.shared, meter.sharing
  )
  call('HSET', KEY, meter.name, packed)
  keepFor(KEY, resetMs)
end

function law.advance(meter, limit)
  local heldAtMs = heldMs(meter.asOfMs)
  local drainMs = max(0, min(heldAtMs - meter.asOfMs, ceil(meter.used / limit)))
  meter.asOfMs = heldAtMs
  meter.used = max(0, meter.used - drainMs * limit)
  if meter.fresh + meter.pool <= meter.used then return end
  if meter.fresh <= meter.used then
    meter.pool = meter.used - meter.fresh
    return
  end
  meter.shared, meter.sharing = meter.sharing, meter.calls
  meter.pool, meter.fresh = meter.used, 0
end

function law.msUntil(meter, limit, amount)
  return max(0, ceil((meter.used - room(limit, amount)) / limit))
end

function law.resetMs(meter, limit)
  return ceil(meter.used / limit)
end

function law.take(meter, _, amount)
  meter.used = meter.used + amount * WINDOW_MS
  meter.fresh = meter.fresh + amount * WINDOW_MS
  meter.calls = meter.calls + 1
  return meter.calls
end

function law.settle(meter, _, stamp, reserved, charged)
  local isFresh = stamp > meter.sharing
  if isFresh then meter.fresh = max(0, meter.fresh - reserved * WINDOW_MS) end
  local more = (charged - reserved) * WINDOW_MS
  if more >= 0 then
    meter.used = meter.used + more
    return
  end
  local givable = isFresh and meter.used or stamp > meter.shared and meter.pool or 0
  local given = min(-more, givable)
  meter.used = meter.used - given
  if not isFresh then meter.pool = meter.pool - min(given, meter.pool) end
end

function law.remaining(meter, limit)
  return remaining(meter.used, limit)
end
