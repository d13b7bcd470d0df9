-- Starts a run, or joins the one that has its id.
-- Slots: a run with a priority has `gates` behind the fixed keys.
-- Returns: {OK, now} | {EXISTS, workflow, digest, status}
-- Writes: run, journal, queue entry or timer, index, gates.
-- Repeat-safe: the second call finds the id and joins it; with a token it gets the first answer.
-- Wakes: whoever reads the queue.
--- @batch
local run_key = KEYS[1]
local journal_key = KEYS[2]
local queue_key = KEYS[3]
local timers_key = KEYS[4]
local index_key = KEYS[5]
local given_now = ARGV[1]
local id = ARGV[2]
local fields_packed = ARGV[3]
local record = ARGV[4]
local times = ARGV[5]
local token = ARGV[6]
--- @include "lib/now_text"
--- @include "lib/create"
--- @include "lib/lanes"
--- @include "lib/check"

-- Two clients racing for one id: the first creates, every other one is told what is there.
if redis.call('HGET', run_key, 'status') then
  local old = redis.call('HMGET', run_key, 'status', 'workflow', 'digest', 'token')
  -- The reply to this very call was lost: what is there is its own doing.
  if token ~= '' and old[4] == token then return { STATUS.OK, now_ms(given_now) } end
  return { STATUS.EXISTS, old[2], old[3], old[1] }
end

local now, time = now_ms(given_now), now_text(given_now)
local fields, delay, timeout = cmsgpack.unpack(fields_packed), times_of(times)
check_zset(index_key)
if KEYS[6] then redis.call('HLEN', KEYS[6]) end
if timeout > 0 then redis.call('ZCARD', timers_key) end
-- The queue, or the timers, are what create_run writes first.
create_run(time, run_key, journal_key, queue_key, timers_key, id, fields, record, delay, timeout)
redis.call('ZADD', index_key, time, id)
if KEYS[6] then note_lane(KEYS[6], fields) end
return { STATUS.OK, now }
