-- The rest of the records: tickets and users that wait.

-- tag, tickets, their cost, whether the head is filed in `large`, head
local USER = '<ddddI4c0'
local LOOK_AHEAD = 8


waiters = setmetatable({ function(waiters)
  function waiters.ticket(room, id)
    local ticket = room.tickets[id]
    if ticket == nil then
      local packed = call('HGET', PREFIX .. 'tickets', id)
      ticket = packed and records.unpackTicket(id, packed, 1)
      room.tickets[id] = ticket
    end
    return ticket or nil
  end

  -- The member at a place, 1 first, of at most LOOK_AHEAD, of a sorted set in which small ones rank: mostly the first is all
  -- that is needed. `owner.first` holds them until somebody files or takes out.
  function waiters.memberAt(owner, key, place)
    local first = owner.first
    if not first or place > #first and not first.isAll then
      local last = first and LOOK_AHEAD or 1
      first = call('ZRANGE', key, 0, last - 1)
      first.isAll = last == LOOK_AHEAD
      owner.first = first
    end
    return first[place]
  end

  function waiters.keep(room, ticket)
    room.tickets[ticket.id] = ticket
    ticket.isNew = true
  end

  function waiters.drop(room, ticket)
    room.tickets[ticket.id] = false
    -- What came in this call has never been written.
    if ticket.isNew then return end
    call('HDEL', PREFIX .. 'tickets', ticket.id)
    call('ZREM', PREFIX .. 'deadlines', rankedName(ticket.number, ticket.id))
    call('ZREM', gatewayKey('waiting', ticket.gateway), ticket.id)
  end

  function waiters.user(client, name)
    local user = client.lines[name]
    if user == nil then
      local packed = client.users > 0 and call('HGET', clientKey('users', client.rank, client.name), name)
      user = false
      if packed then
        local tag, tickets, waitingCostS, inLarge, head = parse(USER, packed)
        user = {
          name = name, tag = tag, tickets = tickets, waitingCostS = waitingCostS, head = head,
          filed = head, inLarge = inLarge == 1, stored = tickets, isDirty = false,
        }
      end
      client.lines[name] = user
    end
    return user and user.tickets > 0 and user or nil
  end

  function waiters.newUser(client, name, tag)
    local before = client.lines[name]
    local user = { name = name, tag = tag, tickets = 0, waitingCostS = 0, isDirty = true }
    user.stored = before and before.stored
    client.lines[name] = user
    client.users = client.users + 1
    return user
  end

  local function writeUser(client, user)
    local key = clientKey('users', client.rank, client.name)
    if user.tickets > 0 then
      local packed = pack(
        USER, user.tag, user.tickets, user.waitingCostS, user.inLarge and 1 or 0, #user.head, user.head
      )
      call('HSET', key, user.name, packed)
    elseif user.stored then
      call('HDEL', key, user.name)
    end
    if user.tickets == (user.stored or 0) then return end
    local flow = flowName(client.rank, client.name, user.name)
    if user.tickets > 0 then
      call('ZADD', PREFIX .. 'flows', user.tickets, flow)
    else
      call('ZREM', PREFIX .. 'flows', flow)
    end
  end

  local function writeTicket(ticket)
    call('HSET', PREFIX .. 'tickets', ticket.id, records.packTicket(ticket))
    if not ticket.isNew then return end
    call('ZADD', PREFIX .. 'deadlines', ticket.deadlineMs, rankedName(ticket.number, ticket.id))
    call('ZADD', gatewayKey('waiting', ticket.gateway), ticket.number, ticket.id)
  end

  function waiters.writeUsers(client)
    for _, user in pairs(client.lines) do
      if user and user.isDirty then writeUser(client, user) end
    end
  end

  function waiters.writeTickets(room)
    for _, ticket in pairs(room.tickets) do
      if ticket and (ticket.isNew or ticket.isDirty) then writeTicket(ticket) end
    end
  end
end }, LAZY)
