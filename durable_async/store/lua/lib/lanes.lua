-- Notes that runs of this priority may be in the queue, so that workers read its stream. The first fields of a record
-- are its workflow and its queue. The caller has seen that the key has no wrong type.
local function note_lane(gates_key, fields)
  redis.call('HSET', gates_key, 'v' .. fields[4], '1')
end
