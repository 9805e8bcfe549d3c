-- A batch of tickets leaves the line.
--
-- KEYS[1]   the model's prefix
-- ARGV[1]   now in whole microseconds; '' = Redis's TIME
-- ARGV[2]   the calling gateway
-- ARGV[3…]  ticket ids
-- replies   { napMs, results, grants } (see acquire.lua); a result is { 'left', short, retryAfterMs }: what one who
--           asked now would be told; or the pool's name: its turn had come already (settle it; `grants` does not tell it
--           again); or 0: unknown
-- errors    NOSTATE

local function cancel(id)
  local ticket = room.waiting > 0 and waiters.ticket(room, id)
  if not ticket then return records.reservationOf(id) or 0 end
  waiters.drop(room, ticket)
  line.leave(room, ticket, now)
  replies.pump(room, now)
  return { 'left', prospects.busy(room, ticket, now) }
end

local results, told = {}, {}
for i = 3, #ARGV do
  local result = cancel(ARGV[i])
  if type(result) == 'string' then told[ARGV[i]] = true end
  results[#results + 1] = result
end
return replies.finish(room, results, told)
