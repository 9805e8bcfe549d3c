-- Calls of one client that still run keep their places: one whose gateway died is free when its lease is over.
--
-- KEYS[1]   the client's prefix
-- ARGV[1]   now in whole ms; '' = Redis's TIME
-- ARGV[2]   how long the places are kept, ms; ARGV[3…] ids of calls
-- replies   nothing

local leaseMs = tonumber(ARGV[2])
for i = 3, #ARGV do call('ZADD', IN_FLIGHT, nowMs + leaseMs, ARGV[i]) end
call('PEXPIRE', IN_FLIGHT, leaseMs + GRACE_MS)
