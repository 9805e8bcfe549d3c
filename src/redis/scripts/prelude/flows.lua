-- The twin of domain/fairQueue.ts, as far as nobody needs to wait: client lines, what they pay and get back, idle users.
-- The class's own, in which they rank.
local line

local flows = setmetatable({ function(flows)
  function flows.idleTag(client, user)
    if client.idles == 0 then return nil end
    local tag = call('ZSCORE', clientKey('idle', client.rank, client.name), user)
    return tag and tonumber(tag) or nil
  end

  function flows.keepIdle(client, user, tag)
    if tag > client.virtualS then
      client.idles = client.idles + call('ZADD', clientKey('idle', client.rank, client.name), tag, user)
    elseif client.idles > 0 then
      client.idles = client.idles - call('ZREM', clientKey('idle', client.rank, client.name), user)
    end
  end

  function flows.forgetIdle(client)
    if client.idles == 0 then return end
    local key = clientKey('idle', client.rank, client.name)
    client.idles = client.idles - call('ZREMRANGEBYSCORE', key, '-inf', client.virtualS)
  end

  -- The client's line, made if need be; its weight is what was said last.
  function flows.client(queue, ask, nowMs)
    local client = records.client(queue, ask.client)
    if not client then
      client = {
        name = ask.client, rank = queue.rank, weight = ask.weight, tag = queue.virtualS, stamp = queue.virtualS,
        waiting = 0, virtualS = 0, asOfMs = nowMs, servedS = 0, servedAsOfMs = nowMs,
        users = 0, smalls = 0, larges = 0, idles = 0, lines = {}, filedSmall = false, filedLarge = false,
      }
      queue.clients[ask.client] = client
    end
    client.isDirty = true
    if client.waiting > 0 then
      queue.waitingWeight = queue.waitingWeight + (ask.weight - client.weight)
    else
      client.virtualS = client.virtualS + max(0, nowMs - client.asOfMs) / 1000
      client.asOfMs = nowMs
      flows.forgetIdle(client)
    end
    client.weight = ask.weight
    return client
  end

  function flows.pay(room, queue, client, ticket, nowMs)
    local cost = rooms.costS(room, ticket.tokens)
    local minutes = max(0, floor((nowMs - client.servedAsOfMs) / MINUTE_MS))
    client.servedS = client.servedS / 2 ^ minutes + cost
    client.servedAsOfMs = client.servedAsOfMs + minutes * MINUTE_MS
    queue.virtualS = max(queue.virtualS, client.tag)
    client.tag = client.tag + cost / client.weight
    return cost
  end

  function flows.refund(queue, client, ticket, difference)
    client.servedS = max(0, client.servedS + difference)
    local tag = client.tag + difference / ticket.weight
    client.tag = client.waiting > 0 and max(tag, client.stamp) or tag
    if client.waiting > 0 then line.rankClient(queue, client) end
  end

  function flows.serveAtOnce(room, ticket, nowMs)
    local queue = room.queues[ticket.rank]
    local client = flows.client(queue, ticket, nowMs)
    client.tag = max(client.tag, queue.virtualS)
    local tag = flows.idleTag(client, ticket.user)
    local start = max(tag or 0, client.virtualS)
    ticket.isFresh = tag == nil
    local cost = flows.pay(room, queue, client, ticket, nowMs)
    ticket.clientStamp = queue.virtualS
    ticket.userStamp = start
    client.virtualS = start
    flows.keepIdle(client, ticket.user, start + cost)
    return cost
  end

  function flows.settle(room, ticket, paidS, chargedTokens)
    local queue = room.queues[ticket.rank]
    local client = records.client(queue, ticket.client)
    if not client then return end
    local cost = rooms.costS(room, chargedTokens)
    client.isDirty = true
    if ticket.isFresh and client.users > 0 then client.virtualS = client.virtualS + cost / client.users end
    local difference = cost - paidS
    flows.refund(queue, client, ticket, difference)
    if client.users > 0 and waiters.user(client, ticket.user) then
      line.settle(room, queue, client, ticket, difference)
    else
      local tag = flows.idleTag(client, ticket.user)
      if tag then flows.keepIdle(client, ticket.user, tag + difference) end
    end
  end
end }, LAZY)
