-- Lets a paused queue go on.
-- Returns: {OK} | {DONE}: it was not paused.
-- Writes: gates.
-- Repeat-safe: the second call finds it going on.
-- Wakes: nobody; its entries are in its stream, which workers read again when they see that they may.
local gates_key = KEYS[1]
local queue = ARGV[1]

if redis.call('HDEL', gates_key, 'p' .. queue) == 0 then return { STATUS.DONE } end
return { STATUS.OK }
