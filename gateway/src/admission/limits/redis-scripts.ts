// The limits as Redis counts them: each script is one atomic step over all scopes of a request. A
// scope has a hash (its window, in slots as in sliding-window.ts: `r`/`t` the sums of requests and
// tokens, `r12`/`t12` those of slot 12, `o`/`n` the oldest and newest slot) and a sorted set (its
// leases by expiry). Whatever is not used expires.
import { slotMs, windowSlots } from './sliding-window.ts'

/** KEYS: window and leases of each scope, in turns. */
const shared = `
local slotMs, windowSlots = ${slotMs}, ${windowSlots}
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local slot = math.floor(now / slotMs)
local scopes = #KEYS / 2

local function leavesIn(one)
  return math.max(1, math.ceil((one + windowSlots) * slotMs - now))
end

-- What the window holds now; what left it is forgotten.
local function readWindow(key)
  local sums = redis.call('HMGET', key, 'r', 't', 'o', 'n')
  local window = {
    requests = tonumber(sums[1]) or 0, tokens = tonumber(sums[2]) or 0,
    oldest = tonumber(sums[3]), newest = tonumber(sums[4])
  }
  local gone = slot - windowSlots
  if window.oldest == nil then return window end
  -- All of it is over; or the clock was set back by more than a window.
  if window.newest <= gone or window.oldest > slot + windowSlots then
    redis.call('DEL', key)
    return { requests = 0, tokens = 0 }
  end
  if window.oldest <= gone then
    local fields = {}
    for one = window.oldest, gone do
      fields[#fields + 1] = 'r' .. one
      fields[#fields + 1] = 't' .. one
    end
    for index, value in ipairs(redis.call('HMGET', key, unpack(fields))) do
      local count = tonumber(value) or 0
      if index % 2 == 1 then window.requests = window.requests - count
      else window.tokens = window.tokens - count end
    end
    redis.call('HDEL', key, unpack(fields))
    window.oldest = gone + 1
    redis.call('HSET', key, 'r', window.requests, 't', window.tokens, 'o', window.oldest)
  end
  return window
end

local function charge(key, window, requests, tokens)
  local at = math.max(slot, window.newest or 0)
  window.requests = window.requests + requests
  window.tokens = window.tokens + tokens
  window.oldest = window.oldest or at
  window.newest = at
  redis.call('HINCRBY', key, 'r' .. at, requests)
  redis.call('HINCRBY', key, 't' .. at, tokens)
  redis.call('HSET', key, 'r', window.requests, 't', window.tokens,
    'o', window.oldest, 'n', window.newest)
  redis.call('PEXPIRE', key, (windowSlots + 2) * slotMs)
  return at
end
`

/**
 * ARGV: now in ms (0: the server's), request id, tokens, lease in ms, the wait for a parallel limit in
 * ms, then rpm, tpm and max_parallel of each scope (-1: none).
 * Replies: the refusing scope (from 1; 0: none), its kind (1 requests, 2 tokens, 3 parallel), the wait
 * in ms (-1: never), then requests, tokens, ms to the reset and slot charged of each scope.
 */
export const takeScript = `${shared}
local id, tokens, leaseMs = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local windows = {}
local refusing, kind, wait = 0, 0, 0

local function refuse(scope, as, ms)
  local isLonger = wait ~= -1 and (ms == -1 or ms > wait)
  if refusing == 0 or isLonger then refusing, kind, wait = scope, as, ms end
end

local function waitFor(key, window, field, used, more, limit)
  if more > limit then return -1 end
  local surplus = used + more - limit
  if surplus <= 0 then return 0 end
  for one = window.oldest, window.newest do
    surplus = surplus - (tonumber(redis.call('HGET', key, field .. one)) or 0)
    if surplus <= 0 then return leavesIn(one) end
  end
  return leavesIn(window.newest)
end

for scope = 1, scopes do
  local key, leases = KEYS[scope * 2 - 1], KEYS[scope * 2]
  local rpm = tonumber(ARGV[scope * 3 + 3])
  local tpm = tonumber(ARGV[scope * 3 + 4])
  local parallel = tonumber(ARGV[scope * 3 + 5])
  local window = readWindow(key)
  windows[scope] = window
  if rpm >= 0 then
    local ms = waitFor(key, window, 'r', window.requests, 1, rpm)
    if ms ~= 0 then refuse(scope, 1, ms) end
  end
  if tpm >= 0 then
    local ms = waitFor(key, window, 't', window.tokens, math.max(1, tokens), tpm)
    if ms ~= 0 then refuse(scope, 2, ms) end
  end
  if parallel >= 0 then
    redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
    local others = redis.call('ZCARD', leases)
    if redis.call('ZSCORE', leases, id) then others = others - 1 end
    if others >= parallel then refuse(scope, 3, tonumber(ARGV[5])) end
  end
end

local reply = { refusing, kind, wait }
for scope = 1, scopes do
  local key, leases, window = KEYS[scope * 2 - 1], KEYS[scope * 2], windows[scope]
  local at = 0
  if refusing == 0 then
    at = charge(key, window, 1, tokens)
    if tonumber(ARGV[scope * 3 + 5]) >= 0 then
      redis.call('ZADD', leases, now + leaseMs, id)
      redis.call('PEXPIRE', leases, leaseMs * 2)
    end
  end
  reply[#reply + 1] = window.requests
  reply[#reply + 1] = window.tokens
  reply[#reply + 1] = window.newest and leavesIn(window.newest) or 0
  reply[#reply + 1] = at
end
return reply
`

/**
 * ARGV: now, request id, tokens more or (negative) fewer, requests fewer (0 or -1), then the slot
 * charged of each scope.
 */
export const settleScript = `${shared}
local id, tokens, requests = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for scope = 1, scopes do
  local key, at = KEYS[scope * 2 - 1], ARGV[scope + 4]
  redis.call('ZREM', KEYS[scope * 2], id)
  if tokens ~= 0 or requests ~= 0 then
    local window = readWindow(key)
    if tokens > 0 then charge(key, window, 0, tokens)
    elseif redis.call('HEXISTS', key, 't' .. at) == 1 then
      for field, less in pairs({ r = requests, t = tokens }) do
        redis.call('HINCRBY', key, field .. at, less)
        redis.call('HINCRBY', key, field, less)
      end
    end
  end
end
return 0
`

/** KEYS: leases, each as often as requests hold one. ARGV: now, lease in ms, the request ids. */
export const renewScript = `
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for index, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + tonumber(ARGV[2]), ARGV[index + 2])
  redis.call('PEXPIRE', key, tonumber(ARGV[2]) * 2)
end
return 0
`
