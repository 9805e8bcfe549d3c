-- A batch of one client's calls has ended: their places are free, and what they reserved becomes what they were charged.
--
-- KEYS[1]   the client's prefix
-- ARGV[1]   now in whole ms; '' = Redis's TIME
-- ARGV[2…]  five an item: the call's id; tokens per minute when it began, '' = it took none; the stamp of its tokens; tokens
--           reserved; tokens charged
-- replies   nothing

for i = 2, #ARGV, 5 do
  call('ZREM', IN_FLIGHT, ARGV[i])
  local limit = tonumber(ARGV[i + 1])
  if limit then
    local meter = law.load('tokens')
    law.advance(meter, limit)
    law.settle(meter, limit, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))
    law.save(meter, law.resetMs(meter, limit))
  end
end
