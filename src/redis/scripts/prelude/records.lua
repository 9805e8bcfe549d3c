-- What is kept of tickets, client lines and user lines: read when first needed, kept for the rest of the call, written at
-- its end.

-- number rank weight tokens deadlineMs clientStamp userStamp requeues saverEpoch isFresh bars, then texts; a bar: untilMs, pool.
local TICKET, BAR = '<dddddddddddI4c0I4c0I4c0I4c0I4c0', 'dI4c0'
-- costS grantedMs, pool; then the ticket.
local RESERVATION = '<ddI4c0'
-- weight tag stamp waiting virtualS asOfMs servedS servedAsOfMs, users that wait, heads in `small` and in `large`, users in
-- `idle`
local CLIENT = '<dddddddddddd'

local MEMORY_S = 120

local waiters

local records = setmetatable({ function(records)
  function records.packTicket(ticket)
    local bars = ticket.barred
    local packed = pack(
      TICKET, ticket.number, ticket.rank, ticket.weight, ticket.tokens, ticket.deadlineMs, ticket.clientStamp,
      ticket.userStamp, ticket.requeues, ticket.saverEpoch, ticket.isFresh and 1 or 0, #bars, #ticket.client,
      ticket.client, #ticket.user, ticket.user, #ticket.gateway, ticket.gateway, #ticket.saver, ticket.saver,
      #ticket.invocation, ticket.invocation
    )
    for _, bar in ipairs(bars) do
      packed = pack('<c0dI4c0', packed, bar.untilMs, #bar.pool, bar.pool)
    end
    return packed
  end

  function records.unpackTicket(id, packed, from)
    local number, rank, weight, tokens, deadlineMs, clientStamp, userStamp, requeues, saverEpoch, isFresh, bars, client,
      user, gateway, saver, invocation, at = parse(TICKET, packed, from)
    local barred = {}
    for i = 1, bars do
      local untilMs, pool, nextAt = parse(BAR, packed, at)
      barred[i] = { untilMs = untilMs, pool = pool }
      at = nextAt
    end
    return {
      id = id, number = number, rank = rank, client = client, weight = weight, user = user, tokens = tokens,
      deadlineMs = deadlineMs, gateway = gateway, clientStamp = clientStamp, userStamp = userStamp,
      requeues = requeues, barred = barred, saver = saver, saverEpoch = saverEpoch,
      isFresh = isFresh == 1, invocation = invocation,
    }
  end

  -- The pool that holds it, what it cost, and what is packed behind that; nil when there is none.
  function records.reservationOf(id)
    local packed = call('HGET', PREFIX .. 'held', id)
    if not packed then return nil end
    local cost, _, pool, at = parse(RESERVATION, packed)
    return pool, cost, packed, at
  end

  -- The reservation ends: its ticket, its pool's name, what it cost; nil when there is none.
  function records.endReservation(id)
    local pool, cost, packed, at = records.reservationOf(id)
    if not pool then return nil end
    call('HDEL', PREFIX .. 'held', id)
    call('ZREM', PREFIX .. 'held-since', id)
    return records.unpackTicket(id, packed, at), pool, cost
  end

  function records.reserve(room, ticket, pool, cost, nowMs)
    local packed = pack('<ddI4c0c0', cost, nowMs, #pool.name, pool.name, records.packTicket(ticket))
    call('HSET', PREFIX .. 'held', ticket.id, packed)
    call('ZADD', PREFIX .. 'held-since', nowMs, ticket.id)
    local queues, rank = room.queues, ticket.rank
    queues[rank].current = queues[rank].current + cost
    queues[rank].credit = max(-MEMORY_S * FLOOR[rank], queues[rank].credit - cost)
    for below = 1, 2 do
      queues[below].credit = min(MAX_CREDIT_S, queues[below].credit + FLOOR[below] * cost)
    end
  end

  -- nil for one the class has never seen.
  function records.client(queue, name)
    local client = queue.clients[name]
    if client == nil then
      local packed = call('HGET', rankKey('clients', queue.rank), name)
      client = false
      if packed then
        local weight, tag, stamp, waiting, virtualS, asOfMs, servedS, servedAsOfMs, users, smalls, larges, idles =
          parse(CLIENT, packed)
        client = {
          name = name, rank = queue.rank, weight = weight, tag = tag, stamp = stamp, waiting = waiting,
          virtualS = virtualS, asOfMs = asOfMs, servedS = servedS, servedAsOfMs = servedAsOfMs, users = users,
          smalls = smalls, larges = larges, idles = idles, lines = {}, isDirty = false,
          -- The tags under which it is filed in the class's sorted sets.
          filedSmall = smalls > 0 and tag, filedLarge = larges > 0 and tag,
        }
      end
      queue.clients[name] = client
    end
    return client or nil
  end

  function records.write(room)
    for rank = 0, 2 do
      for name, client in pairs(room.queues[rank].clients) do
        if client and client.isDirty then
          call(
            'HSET', rankKey('clients', rank), name,
            pack(
              CLIENT, client.weight, client.tag, client.stamp, client.waiting, client.virtualS, client.asOfMs,
              client.servedS, client.servedAsOfMs, client.users, client.smalls, client.larges, client.idles
            )
          )
          if next(client.lines) then waiters.writeUsers(client) end
        end
      end
    end
    if next(room.tickets) then waiters.writeTickets(room) end
  end
end }, LAZY)
