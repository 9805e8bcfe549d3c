-- `FixedWindow` of fixedWindow.ts; a: what is used.
KEY = PREFIX .. 'limits:fixed-window'

function law.advance(meter)
  local heldAtMs = heldMs(meter.asOfMs)
  if windowOf(heldAtMs) > windowOf(meter.asOfMs) then meter.a = 0 end
  meter.asOfMs = heldAtMs
end

function law.msUntil(meter, limit, amount)
  return meter.a + amount <= limit and 0 or WINDOW_MS - meter.asOfMs % WINDOW_MS
end

function giveBack(meter, amount, takenMs)
  if takenMs <= meter.asOfMs and windowOf(takenMs) == windowOf(meter.asOfMs) then
    meter.a = max(0, meter.a - amount)
  end
end

function law.remaining(meter, limit)
  return max(0, limit - meter.a)
end
