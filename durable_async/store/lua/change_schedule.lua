-- Pauses, resumes or removes a schedule.
-- Returns: {OK} | {DONE}: it was so already | {GONE}: no such schedule
-- Writes: schedules, schedule.
-- Repeat-safe: the second call finds it done.
-- Wakes: nobody; a worker that has the schedule looks within a second or so.
local schedules_key = KEYS[1]
local schedule_key = KEYS[2]
local given_now = ARGV[1]
local want = ARGV[2]
local name = ARGV[3]
local never_ms = ARGV[4]
--- @include "lib/now"

local f = redis.call('HMGET', schedule_key, 'expression', 'paused')
redis.call('ZCARD', schedules_key)
if not f[1] then return { STATUS.GONE } end
if want == 'remove' then
  redis.call('ZREM', schedules_key, name)
  redis.call('DEL', schedule_key)
  return { STATUS.OK }
end
if (want == 'pause') == (f[2] == '1') then return { STATUS.DONE } end
if want == 'pause' then
  redis.call('HSET', schedule_key, 'paused', '1', 'next', '')
  redis.call('ZADD', schedules_key, never_ms, name)
else
  -- What came while it was paused is not missed: ticks count from now, and whoever has the schedule finds the next one.
  local now = now_ms(given_now)
  redis.call('HSET', schedule_key, 'paused', '', 'cursor', now, 'next', '')
  redis.call('ZADD', schedules_key, now, name)
end
return { STATUS.OK }
