-- Who makes the call of a key: the caller, unless somebody who lives does already; then the caller counts as a follower.
--
-- KEYS[1]   the prefix of the key's flights; it holds
--             claim           STRING  id of the flight that may be joined
--             <id>            HASH    base: frames dropped from its start; bytes of those kept; ended: life after the end, ms.
--                                     It is there while its maker lives
--             frames:<id>     LIST    what has been told
--             followed:<id>   STRING  there while a gateway follows
--             told:<id>       channel: there are new frames
-- ARGV[1]   the caller's id for it
-- ARGV[2]   how long it lives unheard of, ms
-- ARGV[3]   how long a follower counts, ms
-- replies   the id of the flight: the caller's own, or another's
local PREFIX, id = KEYS[1], ARGV[1]
local held = redis.call('GET', PREFIX .. 'claim')
if held and redis.call('EXISTS', string.format('%s%s', PREFIX, held)) == 1 then
  redis.call('SET', string.format('%sfollowed:%s', PREFIX, held), 1, 'PX', ARGV[3])
  return held
end
local flight = string.format('%s%s', PREFIX, id)
redis.call('SET', PREFIX .. 'claim', id, 'PX', ARGV[2])
redis.call('HSET', flight, 'base', 0, 'bytes', 0)
redis.call('PEXPIRE', flight, ARGV[2])
return id
