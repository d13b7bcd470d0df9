-- Removes a dead worker's consumer from a queue's group once nothing is pending for it: removing it earlier
-- would lose what it holds.
-- Returns: {OK} | {RETRY}: entries are pending
-- Writes: queue.
-- Repeat-safe: a consumer or a group that is gone is ignored.
-- Wakes: nobody.
local stream_key = KEYS[1]
local consumer = ARGV[1]

local pending = redis.pcall('XPENDING', stream_key, 'workers', '-', '+', 1, consumer)
if pending.err then
  -- The group was destroyed, or the queue with it: there is no consumer to remove.
  if string.find(pending.err, 'NOGROUP', 1, true) then return { STATUS.OK } end
  return pending
end
if #pending > 0 then return { STATUS.RETRY } end
redis.call('XGROUP', 'DELCONSUMER', stream_key, 'workers', consumer)
return { STATUS.OK }
