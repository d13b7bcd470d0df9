-- Gives one chunk of the runs, timers and blocked runs to whoever asks first after the pause is over.
-- Returns: {OK, rank of the first run, run ids, timer members, blocked ids, cursor of the walk over all keys}
--   | {DONE}: it is not time yet.
-- Writes: meta.
-- Repeat-safe: what was given out and not looked at comes again in the next round.
-- Wakes: nobody.
local meta_key = KEYS[1]
local index_key = KEYS[2]
local timers_key = KEYS[3]
local blocked_key = KEYS[4]
local given_now = ARGV[1]
local pause_ms = ARGV[2]
local runs = ARGV[3]
local others = ARGV[4]
--- @include "lib/now"

local now = now_ms(given_now)
local HOUR_MS = 3600000
local f = redis.call('HMGET', meta_key, 'sweep_due', 'sweep_runs', 'sweep_timers', 'sweep_blocked', 'sweep_keys')
local due = tonumber(f[1] or '') or 0
-- One of the far future was written by a hand, or by a clock that has gone back.
if due > now and due < now + HOUR_MS then return { STATUS.DONE } end

local function chunk_of(key, from, count)
  local start = math.max(0, math.floor(tonumber(from or '') or 0))
  if start > 1e14 then start = 0 end
  local found = redis.call('ZRANGE', key, start, start + count - 1)
  return start, found
end
local first, ids = chunk_of(index_key, f[2], tonumber(runs))
local first_timer, members = chunk_of(timers_key, f[3], tonumber(others))
local cursor = f[4]
if not cursor or not string.match(cursor, '^%d+$') or #cursor > 20 then cursor = '0' end
local scanned = redis.call('HSCAN', blocked_key, cursor, 'COUNT', others)
local blocked = {}
for i = 1, #scanned[2], 2 do blocked[#blocked + 1] = scanned[2][i] end

local next_timer = #members < tonumber(others) and 0 or first_timer + #members
redis.call('HSET', meta_key, 'sweep_due', now + tonumber(pause_ms), 'sweep_timers', next_timer, 'sweep_blocked',
  scanned[1])
return { STATUS.OK, first, ids, members, blocked, f[5] or '0' }
