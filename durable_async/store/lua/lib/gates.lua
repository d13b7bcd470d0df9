-- What stands in the way of queues: a field `p<queue>` for each that is paused. Mostly there is no such key, and one
-- read says so for a whole batch. A function that tells whether a queue is paused, by the queue of a record; nil if
-- none is. What is of a wrong type stands in nobody's way.
local function read_gates(gates_key)
  if redis.call('EXISTS', gates_key) == 0 then return nil end
  local known = {}
  return function(queue)
    local name = string.match(queue or '', '^[^:]*')
    if known[name] == nil then known[name] = type(redis.pcall('HGET', gates_key, 'p' .. name)) == 'string' end
    return known[name]
  end
end
