-- What stands in the way of queues: a field `p<queue>` for each that is paused, `l<queue>` for each that is limited.
-- Mostly there is no such key, and one read says so for a whole batch. A function that tells for the queue of a record
-- 'p', 'l' or false, and whether the queue is limited, also while it is paused; nil if nothing stands in anybody's way.
-- What is of a wrong type does not.
local function read_gates(gates_key)
  if redis.call('EXISTS', gates_key) == 0 then return nil end
  local known, limited = {}, {}
  return function(lane)
    local queue = string.match(lane or '', '^[^:]*')
    if known[queue] == nil then
      local f = redis.pcall('HMGET', gates_key, 'p' .. queue, 'l' .. queue)
      -- Damaged limits are none, as in lib/room: nobody would ever have a slot of them.
      limited[queue] = f[2] and string.match(f[2], '^%d+ %d+ %d+ %d+$') and true or false
      known[queue] = (f[1] and 'p') or (limited[queue] and 'l') or false
    end
    return known[queue], limited[queue]
  end
end
