--- @include "lib/finish"

-- What a script other than the owner's commit reads of a run before it ends it or speaks to it.
local function read_run(run_key)
  local f = redis.call('HMGET', run_key, 'status', 'epoch', 'entry', 'owner', 'mail', 'taken', 'timer', 'grace',
    'kids', 'retention', 'notify', 'nudged', 'cancel_at', 'cancel_token', 'client', 'claims')
  if not f[1] then return nil end
  return {
    status = f[1], epoch = tonumber(f[2]) or 0, entry = f[3] or '', owner = f[4] or '', mail = tonumber(f[5]) or 0,
    taken = tonumber(f[6]) or 0, timer = f[7] or '', grace = f[8] or '', kids = tonumber(f[9]) or 0,
    retention = f[10], notify = f[11], nudged = f[12], cancel_at = tonumber(f[13]) or 0, cancel_token = f[14],
    client = f[15] or '', claims = tonumber(f[16]) or 0,
  }
end

-- Ends a run that its owner does not end. The owner's later commit finds the status terminal and is FENCED;
-- a nudge makes it look now instead of at the end of its step.
local function end_from_outside(now, keys, id, run, status, payload, parent)
  drop_entry(run.entry, keys.worker, keys.queue)
  if run.status == 'running' and keys.worker then
    redis.call('XADD', keys.worker, 'NOMKSTREAM', '*', 'n', id)
  end
  finish_run(now, keys, id, run, status, payload, parent, {})
end
