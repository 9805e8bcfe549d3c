-- A follower reads on, and is counted as one for a while.
--
-- KEYS[1]   the prefix of the key's flights (claim.lua)
-- ARGV[1]   id
-- ARGV[2]   number of the frame it wants first
-- ARGV[3]   bytes it takes, and what the frame they end in has more; 0: none
-- ARGV[4]   how long it counts, ms
-- replies   frames in order, or false: the flight is gone, or that frame is
local PREFIX, id, most = KEYS[1], ARGV[1], tonumber(ARGV[3])
local flight = string.format('%s%s', PREFIX, id)
local frames = string.format('%sframes:%s', PREFIX, id)
local state = redis.call('HMGET', flight, 'base', 'ended')
local at = tonumber(ARGV[2]) - (tonumber(state[1] or nil) or math.huge)
if at < 0 then return false end
redis.call('SET', string.format('%sfollowed:%s', PREFIX, id), 1, 'PX', ARGV[4])
-- Nobody else keeps an ended one.
if state[2] then
  redis.call('PEXPIRE', flight, state[2])
  redis.call('PEXPIRE', frames, state[2])
end
local found, bytes = {}, 0
while bytes < most do
  local some = redis.call('LRANGE', frames, at, at + 15)
  if #some == 0 then break end
  for _, frame in ipairs(some) do
    if bytes >= most then break end
    found[#found + 1] = frame
    bytes = bytes + #frame
  end
  at = at + #some
end
return found
