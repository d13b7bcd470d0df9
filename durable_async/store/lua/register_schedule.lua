-- Makes a schedule known, or takes it up as it stands: a worker that starts says which schedules its code has.
-- Returns: {OK, now} | {RETRY, now, cursor or ''}: the ticks were not computed from this cursor (from now, if empty).
-- Writes: schedules, schedule.
-- Repeat-safe: the second call writes the same.
-- Wakes: nobody; workers look for the next tick by themselves.
local schedules_key = KEYS[1]
local schedule_key = KEYS[2]
local given_now = ARGV[1]
local name = ARGV[2]
local expression = ARGV[3]
local cursor = ARGV[4]
local next_ms = ARGV[5]
local fields_packed = ARGV[6]
local never_ms = ARGV[7]
--- @include "lib/now"
--- @include "lib/moment"

local f = redis.call('HMGET', schedule_key, 'expression', 'cursor', 'paused')
redis.call('ZCARD', schedules_key)
local now = now_ms(given_now)
-- Another expression has other ticks: those before now are not missed ones.
local is_same = f[1] == expression and is_moment(f[2])
local known = is_same and f[2] or ''
-- Two workers that start at once: the second takes up what the first has written. A tick started in between: the next
-- one is another. Only a new or changed schedule begins at the moment that this script told its caller.
if cursor == '' or (is_same and cursor ~= known) then return { STATUS.RETRY, now, known } end

local fields = cmsgpack.unpack(fields_packed)
local n = #fields
fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'expression', expression, 'next', next_ms
fields[n + 5], fields[n + 6] = 'cursor', cursor
if not is_same then fields[n + 7], fields[n + 8] = 'error', '' end
redis.call('HSET', schedule_key, unpack(fields))
redis.call('ZADD', schedules_key, f[3] == '1' and never_ms or next_ms, name)
return { STATUS.OK, now }
