-- Its maker tells what the call has answered; without frames, that it lives. Frames told before are not told again, so a
-- call whose reply was lost may be repeated.
--
-- KEYS[1]   the prefix of the key's flights (claim.lua)
-- ARGV[1]   id
-- ARGV[2]   how long it lives unheard of, ms
-- ARGV[3]   bytes of frames kept at most: the first ones go, and with them who has not read them
-- ARGV[4]   number of the first frame given
-- ARGV[5]   1: it ends with them
-- ARGV[6]   PUBLISH or SPUBLISH
-- ARGV[7…]  frames
-- replies   1 it is followed, 0 it is not, -1 it is not there any more
local PREFIX, id, lifeMs = KEYS[1], ARGV[1], ARGV[2]
local flight = string.format('%s%s', PREFIX, id)
local frames = string.format('%sframes:%s', PREFIX, id)
local state = redis.call('HMGET', flight, 'base', 'bytes')
if not state[1] then return -1 end
local base, bytes, given = tonumber(state[1]), tonumber(state[2]), tonumber(ARGV[4])
local known = base + redis.call('LLEN', frames)
if given > known then return -1 end
for i = 7 + known - given, #ARGV do
  redis.call('RPUSH', frames, ARGV[i])
  bytes = bytes + #ARGV[i]
end
while bytes > tonumber(ARGV[3]) do
  bytes = bytes - #redis.call('LPOP', frames)
  base = base + 1
end
redis.call('HSET', flight, 'base', base, 'bytes', bytes)
redis.call('PEXPIRE', flight, lifeMs)
redis.call('PEXPIRE', frames, lifeMs)
local isOpen = base == 0 and ARGV[5] ~= '1'
if ARGV[5] == '1' then redis.call('HSET', flight, 'ended', lifeMs) end
if redis.call('GET', PREFIX .. 'claim') == id then
  if isOpen then redis.call('PEXPIRE', PREFIX .. 'claim', lifeMs) else redis.call('DEL', PREFIX .. 'claim') end
end
if #ARGV > 6 then redis.call(ARGV[6], string.format('%stold:%s', PREFIX, id), '') end
return redis.call('EXISTS', string.format('%sfollowed:%s', PREFIX, id))
