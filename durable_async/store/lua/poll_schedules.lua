-- Hands out the schedules that are due, of those that a worker's code has, each to one caller for a while.
-- Slots: behind the fixed key the schedule of each name; behind the fixed arguments name and expression of each.
-- Returns: {OK, now, next time to look or '', {name, cursor, last run} of each that is due, {name, due time} of each
--   that is due and has another expression}
-- Writes: schedules (one handed out comes back if its tick is not started within the lease).
-- Repeat-safe: a schedule whose reply was lost comes back after the lease.
-- Wakes: nobody.
local schedules_key = KEYS[1]
local given_now = ARGV[1]
local lease_ms = ARGV[2]
--- @include "lib/now"
--- @include "lib/moment"

local now = now_ms(given_now)
local due, foreign, lease, next_look = {}, {}, {}, ''
for i = 2, #KEYS do
  local name, expression = ARGV[2 * i - 1], ARGV[2 * i]
  local look_at = tonumber(redis.call('ZSCORE', schedules_key, name) or '')
  if look_at and look_at > now then
    if next_look == '' or look_at < next_look then next_look = look_at end
  elseif look_at then
    -- What is no record has no expression: whoever knows the schedule registers it anew.
    local f = redis.pcall('HMGET', KEYS[i], 'expression', 'cursor', 'last_run')
    if f[1] == expression and is_moment(f[2]) then
      due[#due + 1] = { name, f[2], f[3] or '' }
      lease[#lease + 1], lease[#lease + 2] = now + tonumber(lease_ms), name
    else
      -- The ticks of newer or older code: not taken from those that have it.
      foreign[#foreign + 1] = { name, tostring(look_at) }
    end
  end
end
if #lease > 0 then redis.call('ZADD', schedules_key, unpack(lease)) end
return { STATUS.OK, now, tostring(next_look), due, foreign }
