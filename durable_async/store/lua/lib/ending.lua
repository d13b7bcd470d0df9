--- @include "lib/finish"
--- @include "lib/room"

-- What a script other than the owner's commit reads of a run before it ends it or speaks to it.
local function read_run(run_key)
  local f = redis.call('HMGET', run_key, 'status', 'epoch', 'entry', 'owner', 'mail', 'timer', 'grace', 'kids',
    'retention', 'notify', 'nudged', 'cancel_at', 'cancel_token', 'client', 'claims', 'taken', 'ended_by', 'saga',
    'inputs', 'started', 'deadline', 'pgen')
  if not f[1] then return nil end
  return {
    status = f[1], epoch = tonumber(f[2]) or 0, entry = f[3] or '', owner = f[4] or '', mail = tonumber(f[5]) or 0,
    timer = f[6] or '', grace = f[7] or '', kids = tonumber(f[8]) or 0, retention = f[9], notify = f[10],
    nudged = f[11], cancel_at = tonumber(f[12]) or 0, cancel_token = f[13], client = f[14] or '',
    claims = tonumber(f[15]) or 0, taken = tonumber(f[16]) or 0, ended_by = f[17], saga = f[18] or '',
    inputs = f[19], is_started = f[20], deadline = f[21] or '', pgen = f[22],
  }
end

-- The reads of an end that the owner does not ask for: of its entry, its worker's stream and its place in a limited
-- queue beside those of every end. `keys.room` are the parameters of open_room.
local function plan_end_from_outside(keys, run, parent)
  local plan = plan_end(keys, run, parent)
  plan.entry = run.entry
  plan.entry_key = find_entry(run.entry, keys.worker, keys.queue)
  plan.room = open_room(keys.room[1], keys.room[2], keys.room[3], run.entry)
  if plan.room then
    plan.slot_key = redis.call('HGET', keys.run, 'key') or ''
    -- Let in, its entry is in the stream of priority 0, whatever its own is.
    plan.entry_key = plan.entry_key or find_entry(run.entry, nil, plan.room.stream_key)
  end
  if run.status == 'running' and keys.worker and redis.call('TYPE', keys.worker).ok == 'stream' then
    plan.nudge_key = keys.worker
  end
  return plan
end

-- Ends a run that its owner does not end. The owner's later commit finds the status terminal and is FENCED; a nudge
-- makes it look now instead of at the end of its step.
local function end_from_outside(now, keys, id, plan, status, payload, set)
  finish_run(now, keys, id, plan, status, payload, {}, set)
  if plan.entry_key then drop_entry(plan.entry, plan.entry_key) end
  if plan.nudge_key then redis.call('XADD', plan.nudge_key, '*', 'n', id) end
  if plan.room then leave_room(plan.room, now, id, plan.slot_key, plan.entry) end
end
