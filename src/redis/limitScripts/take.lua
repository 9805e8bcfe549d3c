-- One call asks for its part of each of its client's limits: it takes of all or of none.
--
-- KEYS[1]   the client's prefix
-- ARGV[1]   now in whole ms; '' = Redis's TIME
-- ARGV[2]   requests per minute, '' = unlimited
-- ARGV[3]   tokens per minute, '' = unlimited; ARGV[4] the tokens it reserves
-- ARGV[5]   calls in flight, '' = unlimited; ARGV[6] the call's id; ARGV[7] how long its place is kept, ms
-- replies   { the limit it is over, or '' when it took; ms until it fits, -1: never; the stamp of its tokens;
--           requests remaining, ms until reset; tokens remaining, ms until reset; calls remaining }; 0 where unlimited

local CONCURRENT_RETRY_MS = 1000

local function wait(meter, limit, amount)
  if not meter or amount == 0 then return 0 end
  return amount > limit and math.huge or law.msUntil(meter, limit, amount)
end

local function open(name, limit)
  if not limit then return end
  local meter = law.load(name)
  law.advance(meter, limit)
  return meter
end

local requestLimit, tokenLimit, callLimit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local tokens, leaseMs = tonumber(ARGV[4]), tonumber(ARGV[7])
local requestMeter, tokenMeter = open('requests', requestLimit), open('tokens', tokenLimit)

local inFlight = 0
if callLimit then
  call('ZREMRANGEBYSCORE', IN_FLIGHT, '-inf', nowMs)
  inFlight = call('ZCARD', IN_FLIGHT)
end

local requestsMs, tokensMs = wait(requestMeter, requestLimit, 1), wait(tokenMeter, tokenLimit, tokens)
local callsMs = callLimit and inFlight >= callLimit and CONCURRENT_RETRY_MS or 0
local retryMs = max(requestsMs, tokensMs, callsMs)

local over, stamp = '', 0
if retryMs > 0 then
  over = requestsMs == retryMs and 'requests' or tokensMs == retryMs and 'tokens' or 'concurrent'
else
  if requestMeter then law.take(requestMeter, requestLimit, 1) end
  if tokenMeter and tokens > 0 then stamp = law.take(tokenMeter, tokenLimit, tokens) end
  if callLimit then
    call('ZADD', IN_FLIGHT, nowMs + leaseMs, ARGV[6])
    call('PEXPIRE', IN_FLIGHT, leaseMs + GRACE_MS)
    inFlight = inFlight + 1
  end
end

local function close(meter, limit)
  if not meter then return 0, 0 end
  local resetMs = law.resetMs(meter, limit)
  law.save(meter, resetMs)
  return law.remaining(meter, limit), resetMs
end

local requestsLeft, requestsResetMs = close(requestMeter, requestLimit)
local tokensLeft, tokensResetMs = close(tokenMeter, tokenLimit)
return {
  over, retryMs == math.huge and -1 or retryMs, stamp, requestsLeft, requestsResetMs, tokensLeft, tokensResetMs,
  max(0, (callLimit or 0) - inFlight),
}
