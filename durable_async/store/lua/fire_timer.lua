-- Makes a run ready whose sleep or delay is over. There is no message: the owner reads the time in the answer to its
-- resume or claim, and journals it as a record.
-- Returns: {OK} | {DONE}: the timer is void and gone, or set for later | {RETRY}: the owner changed.
-- Writes: run, timers, worker stream or queue.
-- Repeat-safe: the second call finds the run ready.
-- Wakes: the run.
local run_key = KEYS[1]
local timers_key = KEYS[2]
local worker_key = KEYS[3]
local queue_key = KEYS[4]
local given_now = ARGV[1]
local member = ARGV[2]
local owner = ARGV[3]
--- @include "lib/now"
--- @include "lib/entry"

-- What is no record waits for no time.
local f = redis.pcall('HMGET', run_key, 'status', 'timer', 'owner')
local letter, id = string.sub(member, 1, 1), string.sub(member, 2)
local expected = letter == 'd' and 'delayed' or 'parked'
local due = tonumber(f[2] or '')
-- The run has gone on, ended or vanished: nothing waits for this time any more. Its next park arms its timer anew.
if f[1] ~= expected or not due then
  redis.call('ZREM', timers_key, member)
  return { STATUS.DONE }
end
-- The worker whose stream was declared is not the owner any more: a wake-up there would go astray.
if (f[3] or '') ~= owner then return { STATUS.RETRY } end
if due > now_ms(given_now) then
  -- Parked again for a later time since this one was handed out.
  redis.call('ZADD', timers_key, due, member)
  return { STATUS.DONE }
end
local stream_letter, stream_key = find_stream(letter == 'w' and owner ~= '' and worker_key or nil, queue_key)
-- Of a delayed run that was put back goes the timer of a park before that, too: its record does not name it any more.
redis.call('ZREM', timers_key, member, 'w' .. id)
local entry = add_entry(id, stream_letter, stream_key)
if letter == 'd' then
  redis.call('HSET', run_key, 'status', 'ready', 'entry', entry, 'timer', '', 'waiting', '')
else
  redis.call('HSET', run_key, 'status', 'ready', 'entry', entry, 'timer', '')
end
return { STATUS.OK }
