-- One chunk of the walk over an ended run's children: those that have ended get their time to live. One that is still
-- active gets a copy of the input that it shares with others: those have an end now, which it may outlive.
-- Slots: behind the fixed keys run and journal of each child; ARGV from 5 on the child ids.
-- Returns: {OK} | {STALE}: another worker has taken this chunk | {DONE}: the id lives again, the walk is void and gone.
-- Writes: walks, children, shared, the children's runs and journals.
-- Repeat-safe: the cursor moves once.
-- Wakes: nobody.
local walks_key = KEYS[1]
local children_key = KEYS[2]
local parent_key = KEYS[3]
local shared_key = KEYS[4]
local item = ARGV[1]
local cursor = ARGV[2]
local next_cursor = ARGV[3]
local retention_ms = ARGV[4]
--- @include "lib/terminal"
--- @include "lib/retention"
--- @include "lib/shared"

if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end
-- The run has expired and its id was started again: what is listed now are the children of the living one.
-- What is no record lives no more than one that is gone.
local parent_status = redis.pcall('HMGET', parent_key, 'status')[1]
if parent_status and not TERMINAL[parent_status] then
  redis.call('HDEL', walks_key, item)
  return { STATUS.DONE }
end
local found, copies = {}, {}
local is_shared = redis.call('HLEN', shared_key) > 0
for i = 5, #ARGV do
  -- A damaged record must not hold up its siblings: it is passed over, and stays.
  found[i] = redis.pcall('HMGET', KEYS[2 * i - 5], 'status', 'kids', 'retention')
  local is_active = not found[i].err and found[i][1] and not TERMINAL[found[i][1]]
  if is_shared and is_active then copies[i] = read_shared(KEYS[2 * i - 4], shared_key) end
end
local fallback = retention_of(retention_ms)
for i = 5, #ARGV do
  local run_key, journal_key, f = KEYS[2 * i - 5], KEYS[2 * i - 4], found[i]
  if copies[i] then redis.call('LSET', journal_key, 0, copies[i]) end
  -- One that is still active sees its parent's time to live when it ends.
  if not f.err and f[1] and TERMINAL[f[1]] then
    if (tonumber(f[2]) or 0) > 0 then redis.call('HSET', walks_key, 'e' .. ARGV[i], 0) end
    local ttl = retention_of(f[3]) or fallback
    if ttl then
      redis.call('PEXPIRE', run_key, ttl)
      redis.call('PEXPIRE', journal_key, ttl)
    end
  end
end
-- It was taken up again and has ended again: a walk that was to keep the tree meanwhile would come too late.
local keeping = 'p' .. string.sub(item, 2)
if next_cursor == '' then
  redis.call('HDEL', walks_key, item, keeping)
  if fallback then
    redis.call('PEXPIRE', children_key, fallback)
    if is_shared then redis.call('PEXPIRE', shared_key, fallback) end
  end
else
  redis.call('HDEL', walks_key, keeping)
  redis.call('HSET', walks_key, item, next_cursor)
end
return { STATUS.OK }
