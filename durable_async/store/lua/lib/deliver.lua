--- @include "lib/entry"

-- Numbers a message into a run's inbox and, in the same script, wakes a parked
-- run or nudges a running one. `run` holds status, mail, owner and nudged as read
-- by this script; worker_key is the owner's stream, or nil when the caller
-- declared another worker's. A nudge is a note, no entry: a lost one is covered by
-- the owner's next commit.
local function deliver_message(now, run_key, inbox_key, id, run, body, worker_key, queue_key)
  local number = run.mail + 1
  redis.call('RPUSH', inbox_key, 'M' .. number .. ' ' .. now .. ' ' .. body)
  if run.status == 'parked' then
    local entry = add_entry(id, worker_key, queue_key)
    redis.call('HSET', run_key, 'mail', number, 'status', 'ready', 'entry', entry)
  elseif run.status == 'running' and worker_key and run.nudged ~= '1' then
    redis.call('XADD', worker_key, 'NOMKSTREAM', '*', 'n', id)
    redis.call('HSET', run_key, 'mail', number, 'nudged', '1')
  else
    redis.call('HSET', run_key, 'mail', number)
  end
  return number
end

-- The fields of a parent that its message needs; nil if the parent is gone. The worker's stream is usable only
-- if it is the one the caller declared.
local function read_parent(parent)
  local f = redis.call('HMGET', parent.run_key, 'status', 'mail', 'owner', 'nudged')
  if not f[1] then return nil end
  return {
    status = f[1], mail = tonumber(f[2]) or 0, nudged = f[4],
    worker_key = f[3] and f[3] == parent.owner and parent.worker_key or nil,
  }
end

-- Tells a parent that is not terminal that its child has settled.
local function tell_parent(now, parent, run, child_id, letter, payload)
  local body = 'C' .. letter .. child_id .. '\n' .. payload
  deliver_message(now, parent.run_key, parent.inbox_key, parent.id, run, body, run.worker_key, parent.queue_key)
end
