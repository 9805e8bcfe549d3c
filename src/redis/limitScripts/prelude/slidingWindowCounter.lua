-- `SlidingWindowCounter` of slidingWindowCounter.ts; a: this minute's count, b: that of the one before.
KEY = PREFIX .. 'limits:sliding-window-counter'

function law.advance(meter)
  local heldAtMs = heldMs(meter.asOfMs)
  local windows = windowOf(heldAtMs) - windowOf(meter.asOfMs)
  meter.asOfMs = heldAtMs
  if windows <= 0 then return end
  meter.b = windows == 1 and meter.a or 0
  meter.a = 0
end

local function faded(count, room)
  return count <= room and 0 or WINDOW_MS - floor(room * WINDOW_MS / count)
end

function law.msUntil(meter, limit, amount)
  local elapsedMs = meter.asOfMs % WINDOW_MS
  local room = limit - meter.a - amount
  if room >= 0 then return max(0, faded(meter.b, room) - elapsedMs) end
  return WINDOW_MS - elapsedMs + faded(meter.a, limit - amount)
end

function giveBack(meter, amount, takenMs)
  if takenMs > meter.asOfMs then return end
  local windows = windowOf(meter.asOfMs) - windowOf(takenMs)
  if windows == 0 then
    meter.a = max(0, meter.a - amount)
  elseif windows == 1 then
    meter.b = max(0, meter.b - amount)
  end
end

function law.remaining(meter, limit)
  local counted = ceil(meter.b * (WINDOW_MS - meter.asOfMs % WINDOW_MS) / WINDOW_MS)
  return max(0, limit - meter.a - counted)
end
