-- What every script begins with: the time that holds, and the one table of key names in Lua (src/redis/keys.ts is its
-- counterpart). All keys begin with KEYS[1], the model's prefix, and so share its hash tag. None has a TTL but the outboxes.
--
--   room                      HASH  version, settings and state of the room, packed: read and written once a call (room.lua)
--   tickets                   HASH  ticket id -> packed ticket that waits
--   held                      HASH  ticket id -> packed reservation
--   held-since                ZSET  ticket id by the time it was granted, ms
--   deadlines                 ZSET  ticket that waits by its deadline, ms
--   gateways                  ZSET  gateway by the time it was last heard, ms
--   board                     HASH  what gateways report of the pools: state, lease, tallies (board.lua)
--   departed                  HASH  who left the line lately without a turn (departed.lua) -> packed departure
--   departed-order            ZSET  the same by the order in which they left
--   flows                     ZSET  flow (`flowName`) by its number of waiting tickets
--   clients:<rank>            HASH  client -> packed client line
--   small:<rank>              ZSET  client with heads that compete for the bucket, by its tag
--   large:<rank>              ZSET  client with heads that are saved up for, by its tag
--   users:<rank>:<client>     HASH  user that waits -> packed user line
--   idle:<rank>:<client>      ZSET  user that does not wait, by its tag
--   small:<rank>:<client>     ZSET  head ticket of a user's line, by the user's tag
--   large:<rank>:<client>     ZSET  the same for large ones, by the tag after it
--   line:<flow>               ZSET  ticket id by its number: the user's tickets after the head
--   waiting:<gateway>         ZSET  ticket id by its number: whom the gateway waits for
--   outbox:<gateway>          LIST  ticket id, pool, ticket id, pool, …: grants it has not been told; an hour after the last
--   grants:<gateway>          channel: there is something in the outbox
--
-- A ticket in a ZSET that ranks is called by its number, of a fixed width, and its id: ties go to the one that came first,
-- as in SortedSet. Numbers are never joined to text but by string.format: tostring and `..` keep 14 digits. (As an argument
-- of redis.call a number keeps all 17.)
--
-- Packed with struct, as doubles: three times faster than '%.17g' each way, and as exact.
local call, format, pack, parse = redis.call, string.format, struct.pack, struct.unpack
local max, min, floor, ceil, INFINITY = math.max, math.min, math.floor, math.ceil, math.huge
local PREFIX, GATEWAY = KEYS[1], ARGV[2]

-- Each part of the prelude is a group of functions, made when the first of them is needed: a script makes its functions anew
-- in every call, and most calls find nobody waiting and need few. (In a group they also cost less, 0.1 us each instead of
-- 0.3: what they share they find in the group's own function, not in a long list of the script's variables.)
local LAZY = {
  __index = function(group, name)
    local make = rawget(group, 1)
    setmetatable(group, nil)
    make(group)
    return group[name]
  end,
}

local function rankKey(kind, rank)
  return format('%s%s:%d', PREFIX, kind, rank)
end

local function clientKey(kind, rank, client)
  return format('%s%s:%d:%s', PREFIX, kind, rank, client)
end

local function gatewayKey(kind, gateway)
  return format('%s%s:%s', PREFIX, kind, gateway)
end

-- The length tells where the client's name ends, whatever is in it.
local function flowName(rank, client, user)
  return format('%d:%d:%s:%s', rank, #client, client, user)
end

-- `ticketKey` of ticket.ts, and the id.
local function rankedName(number, id)
  return format('%015d%s', number, id)
end

local function idOf(ranked)
  return ranked:sub(16)
end

local clockMs
if ARGV[1] ~= '' then
  clockMs = tonumber(ARGV[1]) / 1000
else
  local time = call('TIME')
  clockMs = (tonumber(time[1]) * 1000000 + tonumber(time[2])) / 1000
end
