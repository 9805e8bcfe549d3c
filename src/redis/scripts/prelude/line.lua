-- The rest of the twin of domain/fairQueue.ts: those who wait, in line behind their user's head, and heads and clients in
-- the sorted sets that rank them.
line = setmetatable({ function(line)
  -- Files the client under its tag in one of the class's sorted sets, or takes it out.
  local function fileClient(queue, client, kind, sizeName, filed, heads)
    if heads > 0 then
      if filed ~= client.tag then
        queue[sizeName] = queue[sizeName] + call('ZADD', rankKey(kind, queue.rank), client.tag, client.name)
        queue.first, queue.firstLarge = nil, nil
      end
      return client.tag
    end
    if filed then
      queue[sizeName] = queue[sizeName] - call('ZREM', rankKey(kind, queue.rank), client.name)
      queue.first, queue.firstLarge = nil, nil
    end
    return false
  end

  local function rankClient(queue, client)
    client.filedSmall = fileClient(queue, client, 'small', 'smalls', client.filedSmall, client.smalls)
    client.filedLarge = fileClient(queue, client, 'large', 'larges', client.filedLarge, client.larges)
  end

  local function unfileUser(client, user)
    local kind = user.inLarge and 'large' or 'small'
    local size = user.inLarge and 'larges' or 'smalls'
    call('ZREM', clientKey(kind, client.rank, client.name), user.filed)
    client[size] = client[size] - 1
    user.filed = nil
  end

  -- Files the head of the user's line under its tag, or the user among the idle; then the client likewise.
  local function rankUser(room, queue, client, user)
    client.first, client.firstLarge = nil, nil
    user.isDirty = true
    if user.tickets == 0 then
      if user.filed then unfileUser(client, user) end
      client.users = client.users - 1
      flows.keepIdle(client, user.name, user.tag)
    else
      local tokens = waiters.ticket(room, idOf(user.head)).tokens
      local isInLarge = rooms.isLarge(room, tokens)
      if user.filed and (user.filed ~= user.head or user.inLarge ~= isInLarge) then unfileUser(client, user) end
      local tag = isInLarge and user.tag + rooms.costS(room, tokens) or user.tag
      if not user.filed then
        local size = isInLarge and 'larges' or 'smalls'
        client[size] = client[size] + 1
      end
      call('ZADD', clientKey(isInLarge and 'large' or 'small', client.rank, client.name), tag, user.head)
      user.filed = user.head
      user.inLarge = isInLarge
    end
    rankClient(queue, client)
  end

  local function startWaiting(room, queue, client, ticket, stamp)
    if client.waiting == 0 then
      client.tag = max(client.tag, stamp)
      client.stamp = stamp
      queue.waitingWeight = queue.waitingWeight + client.weight
    end
    client.waiting = client.waiting + 1
    queue.waiting = queue.waiting + 1
    room.waiting = room.waiting + 1
    queue.waitingCostS = queue.waitingCostS + rooms.costS(room, ticket.tokens)
  end

  local function lineKey(client, user)
    return format('%sline:%s', PREFIX, flowName(client.rank, client.name, user.name))
  end

  -- A line is kept in order of entry: the head in the user's record, the others in a sorted set.
  local function intoLine(client, user, ticket)
    local ranked = rankedName(ticket.number, ticket.id)
    user.tickets = user.tickets + 1
    if user.tickets == 1 then
      user.head = ranked
      return
    end
    local headNumber = tonumber(user.head:sub(1, 15))
    if ticket.number < headNumber then
      call('ZADD', lineKey(client, user), headNumber, idOf(user.head))
      user.head = ranked
    else
      call('ZADD', lineKey(client, user), ticket.number, ticket.id)
    end
  end

  local function outOfLine(client, user, ticket)
    user.tickets = user.tickets - 1
    local isHead = user.head == rankedName(ticket.number, ticket.id)
    if user.tickets == 0 then
      user.head = ''
    elseif isHead then
      local following = call('ZPOPMIN', lineKey(client, user))
      user.head = rankedName(tonumber(following[2]), following[1])
    else
      call('ZREM', lineKey(client, user), ticket.id)
    end
  end

  -- `idle`: the tag of a user that does not wait yet; `tag`: the user's new one.
  local function lineUp(room, queue, client, ticket, idle, tag)
    local user = waiters.user(client, ticket.user)
    if not user then
      user = waiters.newUser(client, ticket.user, max(idle or 0, ticket.userStamp))
      if client.idles > 0 then
        client.idles = client.idles - call('ZREM', clientKey('idle', client.rank, client.name), ticket.user)
      end
    end
    if tag then user.tag = tag end
    intoLine(client, user, ticket)
    user.waitingCostS = user.waitingCostS + rooms.costS(room, ticket.tokens)
    rankUser(room, queue, client, user)
  end

  local function takeOut(room, queue, client, user, ticket, nowMs)
    local cost = rooms.costS(room, ticket.tokens)
    outOfLine(client, user, ticket)
    user.waitingCostS = user.waitingCostS - cost
    client.isDirty = true
    client.waiting = client.waiting - 1
    queue.waiting = queue.waiting - 1
    room.waiting = room.waiting - 1
    queue.waitingCostS = queue.waiting == 0 and 0 or queue.waitingCostS - cost
    if client.waiting == 0 then
      client.asOfMs = nowMs
      queue.waitingWeight = queue.waiting == 0 and 0 or queue.waitingWeight - client.weight
    end
    if user.tickets > 0 then user.tag = max(user.tag, waiters.ticket(room, idOf(user.head)).userStamp) end
    rankUser(room, queue, client, user)
  end

  line.rankClient = rankClient
  line.rankUser = rankUser

  -- What its flow was behind when it left the line, if it did: as a user and as a client.
  function line.join(room, ticket, nowMs, userLagS, clientLagS)
    local queue = room.queues[ticket.rank]
    local client = flows.client(queue, ticket, nowMs)
    startWaiting(room, queue, client, ticket, queue.virtualS - clientLagS)
    ticket.clientStamp = client.stamp
    local user = waiters.user(client, ticket.user)
    ticket.userStamp = user and min(client.virtualS, user.tag) or client.virtualS - userLagS
    local idle = not user and flows.idleTag(client, ticket.user) or nil
    ticket.isFresh = not user and not idle
    lineUp(room, queue, client, ticket, idle)
  end

  function line.leave(room, ticket, nowMs)
    local queue = room.queues[ticket.rank]
    local client = records.client(queue, ticket.client)
    local user = waiters.user(client, ticket.user)
    local userLagS = user.tickets > 1 and 0 or max(0, client.virtualS - user.tag)
    local clientLagS = client.waiting > 1 and 0 or max(0, queue.virtualS - client.tag)
    takeOut(room, queue, client, user, ticket, nowMs)
    if ticket.invocation ~= '' then departed.keep(room, ticket, nowMs, userLagS, clientLagS) end
  end

  function line.serve(room, ticket, nowMs)
    local queue = room.queues[ticket.rank]
    local client = records.client(queue, ticket.client)
    local user = waiters.user(client, ticket.user)
    local cost = flows.pay(room, queue, client, ticket, nowMs)
    client.virtualS = max(client.virtualS, user.tag)
    flows.forgetIdle(client)
    user.tag = user.tag + cost
    takeOut(room, queue, client, user, ticket, nowMs)
    return cost
  end

  -- Of a user that waits.
  function line.settle(room, queue, client, ticket, difference)
    local user = waiters.user(client, ticket.user)
    user.tag = max(user.tag + difference, waiters.ticket(room, idOf(user.head)).userStamp)
    rankUser(room, queue, client, user)
  end

  function line.rejoin(room, ticket, paidS, nowMs)
    local queue = room.queues[ticket.rank]
    local client = flows.client(queue, ticket, nowMs)
    flows.refund(queue, client, ticket, -paidS)
    startWaiting(room, queue, client, ticket, ticket.clientStamp)
    local user = waiters.user(client, ticket.user)
    local idle = not user and flows.idleTag(client, ticket.user) or nil
    local tag = user and user.tag or idle or 0
    lineUp(room, queue, client, ticket, idle, max(tag - paidS, ticket.userStamp))
  end
end }, LAZY)
