-- One chunk of the walk over an ended run's children: those that have ended get their time to live.
-- Slots: behind the fixed keys run and journal of each child; ARGV from 5 on the child ids.
-- Returns: {OK} | {STALE}: another worker has taken this chunk.
-- Writes: walks, children, the children's runs and journals.
-- Repeat-safe: the cursor moves once.
-- Wakes: nobody.
local walks_key = KEYS[1]
local children_key = KEYS[2]
local item = ARGV[1]
local cursor = ARGV[2]
local next_cursor = ARGV[3]
local retention_ms = ARGV[4]
--- @include "lib/terminal"

if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end
for i = 5, #ARGV do
  local run_key, journal_key = KEYS[2 * i - 7], KEYS[2 * i - 6]
  local f = redis.call('HMGET', run_key, 'status', 'kids', 'retention')
  -- One that is still active sees its parent's time to live when it ends.
  if f[1] and TERMINAL[f[1]] then
    local ttl = f[3] or retention_ms
    if (tonumber(f[2]) or 0) > 0 then redis.call('HSET', walks_key, 'e' .. ARGV[i], 0) end
    redis.call('PEXPIRE', run_key, ttl)
    redis.call('PEXPIRE', journal_key, ttl)
  end
end
if next_cursor == '' then
  redis.call('HDEL', walks_key, item)
  redis.call('PEXPIRE', children_key, retention_ms)
else
  redis.call('HSET', walks_key, item, next_cursor)
end
return { STATUS.OK }
