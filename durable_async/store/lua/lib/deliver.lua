--- @include "lib/entry"

-- The reads of a delivery: what the message will do, and that no key has a wrong type. `run` holds status, mail and
-- nudged as read by this script; worker_key is the owner's stream, or nil if the caller declared another worker's.
local function plan_message(inbox_key, run, worker_key, queue_key)
  redis.call('LLEN', inbox_key)
  if run.status == 'parked' then
    run.wake_letter, run.wake_key = find_stream(worker_key, queue_key)
  elseif run.status == 'running' and worker_key and run.nudged ~= '1'
    and redis.call('TYPE', worker_key).ok == 'stream' then
    run.nudge_key = worker_key
  end
end

-- Numbers a message into a run's inbox and, in the same script, wakes a parked run or nudges a running one, as planned.
-- A nudge is a note, no entry: a lost one is covered by the owner's next commit. `set` are further fields to write.
local function deliver_message(now, run_key, inbox_key, id, run, body, set)
  local number = run.mail + 1
  local n = #set
  set[n + 1], set[n + 2] = 'mail', number
  if run.wake_key then
    set[n + 3], set[n + 4] = 'status', 'ready'
    set[n + 5], set[n + 6] = 'entry', add_entry(id, run.wake_letter, run.wake_key)
  elseif run.nudge_key then
    redis.call('XADD', run.nudge_key, '*', 'n', id)
    set[n + 3], set[n + 4] = 'nudged', '1'
  end
  redis.call('RPUSH', inbox_key, 'M' .. number .. ' ' .. now .. ' ' .. body)
  redis.call('HSET', run_key, unpack(set))
end
