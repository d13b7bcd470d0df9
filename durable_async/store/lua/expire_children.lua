-- One chunk of the walk over an ended run's children: those that have ended get their time to live. One that is still
-- active may outlive what it shares with others, which has an end now: it gets a copy of its input, and becomes the
-- holder of what the runs below it share. A run that holds inputs keeps them until the walks below it are over, too.
-- Slots: behind the fixed keys `shared` of each run above it; then run, journal and shared of each child. ARGV from 6
--   on the child ids.
-- Returns: {OK} | {STALE}: another worker has taken this chunk | {DONE}: the id lives again, the walk is void and gone
--   | {HELD}: all children are done, those below them are not: it is to be asked again.
-- Writes: walks, children, shared; the children's runs, journals and shared.
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
local n_above = ARGV[5]
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

local BUDGET = 4194304
local is_shared = redis.call('HLEN', shared_key) > 0
local n, last, size = tonumber(n_above), #ARGV, 0
local find_input = is_shared and open_shared(KEYS, 4, 4 + n)
local found, copies, marked, is_walked_below = {}, {}, {}, false
for i = 6, #ARGV do
  local at = 3 * i - 13 + n
  -- A damaged record must not hold up its siblings: it is passed over, and stays.
  found[i] = redis.pcall('HMGET', KEYS[at], 'status', 'kids', 'retention')
  local is_active = not found[i].err and found[i][1] and not TERMINAL[found[i][1]]
  if is_shared and is_active then
    local more
    copies[i] = read_shared(KEYS[at + 1], find_input)
    marked[i], more = read_marked(KEYS[at + 2], find_input)
    size = size + more + #(copies[i] or '')
    -- The rest is another chunk's: copies of many large inputs would hold up everybody else.
    if size > BUDGET and i < #ARGV then
      last, next_cursor = i, string.format('%d', tonumber(cursor) + i - 5)
      break
    end
  end
  if not is_active and not found[i].err and (tonumber(found[i][2]) or 0) > 0 then is_walked_below = true end
end

-- Whether it holds inputs itself: a mark, which stands for what is further up, nobody needs who is not active.
local function is_holder()
  for _, fingerprint in ipairs(redis.call('HKEYS', shared_key)) do
    if redis.call('HSTRLEN', shared_key, fingerprint) > 0 then return true end
  end
  return false
end
-- A walk below begins before the one that leads to it goes on: if there is none now, all that is below has been seen.
local function is_walked()
  if is_walked_below then return true end
  local below = item .. '/'
  for _, other in ipairs(redis.call('HKEYS', walks_key)) do
    if string.sub(other, 1, #below) == below then return true end
  end
  return false
end
local fallback = retention_of(retention_ms)
local has_to_wait = next_cursor == '' and fallback and is_shared and is_holder() and is_walked()
if has_to_wait then next_cursor = string.format('%d', tonumber(cursor) + #ARGV - 5) end
for i = 6, last do
  local at, f = 3 * i - 13 + n, found[i]
  local run_key, journal_key = KEYS[at], KEYS[at + 1]
  if copies[i] then redis.call('LSET', journal_key, 0, copies[i]) end
  for j = 1, #(marked[i] or {}), 2 do redis.call('HSET', KEYS[at + 2], marked[i][j], marked[i][j + 1]) end
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
return { has_to_wait and STATUS.HELD or STATUS.OK }
