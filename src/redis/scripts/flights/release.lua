-- Its maker wants no more followers, or none at all if there is none.
--
-- KEYS[1]   the prefix of the key's flights (claim.lua)
-- ARGV[1]   id
-- ARGV[2]   1: while it is followed it may still be joined
-- replies   1 it is followed, 0 it is not, and nothing is left of it
local PREFIX, id = KEYS[1], ARGV[1]
local flight = string.format('%s%s', PREFIX, id)
local followed = string.format('%sfollowed:%s', PREFIX, id)
local isFollowed = redis.call('EXISTS', flight, followed) == 2
if not (isFollowed and ARGV[2] == '1') and redis.call('GET', PREFIX .. 'claim') == id then
  redis.call('DEL', PREFIX .. 'claim')
end
if isFollowed then return 1 end
redis.call('DEL', flight, followed, string.format('%sframes:%s', PREFIX, id))
return 0
