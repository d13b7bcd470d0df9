-- Starts the run of one tick and moves its schedule on; or moves it on without a run; or starts a run out of turn.
-- Returns: {OK, now, what was done} | {DONE}: another worker was first, or the schedule is paused | {RETRY}: its last
--   run is another | {EXISTS, workflow}: the id belongs to another run | {GONE}: no such schedule
-- Writes: schedules, schedule, run, journal, timers, queue entry, index.
-- Repeat-safe: the second call finds the cursor moved; out of turn it finds its own run by the token.
-- Wakes: whoever reads the queue.
local schedules_key = KEYS[1]
local schedule_key = KEYS[2]
local run_key = KEYS[3]
local journal_key = KEYS[4]
local queue_key = KEYS[5]
local timers_key = KEYS[6]
local index_key = KEYS[7]
local last_run_key = KEYS[8]
local given_now = ARGV[1]
local want = ARGV[2]
local name = ARGV[3]
local expression = ARGV[4]
local cursor = ARGV[5]
local last_run = ARGV[6]
local new_cursor = ARGV[7]
local next_ms = ARGV[8]
local look_ms = ARGV[9]
local overlap = ARGV[10]
local id = ARGV[11]
local fields_packed = ARGV[12]
local record = ARGV[13]
local token = ARGV[14]
local trouble = ARGV[15]
local times = ARGV[16]
--- @include "lib/now"
--- @include "lib/digest"
--- @include "lib/terminal"
--- @include "lib/create"

local f = redis.call('HMGET', schedule_key, 'expression', 'cursor', 'paused', 'last_run')
if not f[1] then return { STATUS.GONE } end
local now = now_ms(given_now)
if want ~= 'trigger' then
  -- Three workers find one tick due: the first moves the cursor. It may also have been paused, resumed or changed by a
  -- deploy since this worker looked.
  if f[1] ~= expression or f[2] ~= cursor or f[3] == '1' then return { STATUS.DONE } end
  -- Started out of turn since: what is active is another run than the one declared.
  if (f[4] or '') ~= last_run then return { STATUS.RETRY } end
end
if want == 'note' then
  redis.call('HSET', schedule_key, 'error', trouble)
  return { STATUS.OK, now, 'noted' }
end

local done, old = 'started', redis.call('HMGET', run_key, 'status', 'workflow', 'digest', 'token')
local fields = cmsgpack.unpack(fields_packed)
if want == 'pass' then
  done = 'passed'
elseif old[1] and want == 'trigger' then
  -- The reply to this very call was lost: what is there is its own doing.
  if old[4] == token then return { STATUS.OK, now, done } end
  return { STATUS.EXISTS, old[2] }
elseif old[1] then
  -- Started by hand, or by this schedule before it was made anew.
  done = 'joined'
  for i = 1, #fields, 2 do
    if fields[i] == 'workflow' and fields[i + 1] ~= old[2]
      or fields[i] == 'digest' and not is_same_digest(fields[i + 1], old[3]) then
      done, trouble = 'refused', 'the id ' .. id .. ' belongs to another run'
    end
  end
elseif overlap == 'skip' and last_run ~= '' then
  local status = redis.call('HGET', last_run_key, 'status')
  if status and not TERMINAL[status] then done = 'skipped' end
end
redis.call('ZCARD', schedules_key)
if done == 'started' then
  redis.call('ZCARD', index_key)
  redis.call('ZCARD', timers_key)
  -- The queue is what create_run writes first.
  create_run(now, run_key, journal_key, queue_key, timers_key, id, fields, record, times_of(times))
  redis.call('ZADD', index_key, now, id)
end
if want ~= 'trigger' then
  redis.call('HSET', schedule_key, 'cursor', new_cursor, 'next', next_ms)
  redis.call('ZADD', schedules_key, look_ms, name)
end
if done == 'started' or done == 'joined' then
  redis.call('HSET', schedule_key, 'last_run', id, 'last_at', new_cursor, 'error', '')
elseif trouble ~= '' then
  redis.call('HSET', schedule_key, 'error', trouble)
end
return { STATUS.OK, now, done }
