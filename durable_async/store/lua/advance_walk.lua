-- Moves a walk on after its chunk has been done, or ends it.
-- Returns: {OK} | {STALE}: another worker has moved it.
-- Writes: walks.
-- Repeat-safe: the cursor moves once.
-- Wakes: nobody.
local walks_key = KEYS[1]
local item = ARGV[1]
local cursor = ARGV[2]
local next_cursor = ARGV[3]

if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end
if next_cursor == '' then
  redis.call('HDEL', walks_key, item)
else
  redis.call('HSET', walks_key, item, next_cursor)
end
return { STATUS.OK }
