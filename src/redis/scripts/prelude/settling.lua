-- How a reservation ends, with what was really charged: 1, or 0 for one that is unknown or has ended.
local function settle(id, chargedTokens)
  local ticket, poolName, cost = records.endReservation(id)
  if not ticket then return 0 end
  local pool = rooms.poolNamed(room, poolName)
  local bucket = pool and pool.tokens
  if bucket then bucket.level = min(bucket.burst, bucket.level + (ticket.tokens - chargedTokens)) end
  flows.settle(room, ticket, cost, chargedTokens)
  room.reserved = room.reserved + ticket.tokens
  room.charged = room.charged + chargedTokens
  replies.pump(room, now)
  return 1
end
