-- Hands out the timers that are due, each to one caller for a while, and shows unfinished walks and what stands in the
-- way of queues.
-- Returns: {OK, now, due members, next due time or '', walk items and cursors in turn, gates likewise}
-- Writes: timers (a timer handed out comes back if it is not fired within the lease).
-- Repeat-safe: a timer whose reply was lost comes back after the lease.
-- Wakes: nobody.
local timers_key = KEYS[1]
local walks_key = KEYS[2]
local gates_key = KEYS[3]
local given_now = ARGV[1]
local limit = ARGV[2]
local lease_ms = ARGV[3]
--- @include "lib/now"

local now = now_ms(given_now)
local due = redis.call('ZRANGE', timers_key, 0, limit, 'WITHSCORES')
local walks = redis.call('HRANDFIELD', walks_key, 16, 'WITHVALUES')
local gates = redis.pcall('HGETALL', gates_key)
if gates.err then gates = {} end
local members, next_due, lease = {}, '', {}
for i = 1, #due, 2 do
  if tonumber(due[i + 1]) > now then
    next_due = due[i + 1]
    break
  end
  if #members == tonumber(limit) then
    next_due = now
    break
  end
  members[#members + 1] = due[i]
  lease[#lease + 1] = now + tonumber(lease_ms)
  lease[#lease + 1] = due[i]
end
if #members > 0 then redis.call('ZADD', timers_key, unpack(lease)) end
return { STATUS.OK, now, members, tostring(next_due), walks, gates }
