--- @include "lib/terminal"
--- @include "lib/retention"
--- @include "lib/journal"
--- @include "lib/deliver"

-- The reads of an end; its plan. `run` holds mail, taken, timer, grace, deadline, kids, retention, notify and pgen as
-- read by this script, `parent` the keys and the declared owner of the parent, or is nil for a root. The journal is not
-- read: it is the first key that finish_run writes.
local function plan_end(keys, run, parent)
  -- With a place for everything that follows: a table that grows is made anew.
  local plan = {
    retention = retention_of(run.retention), has_mail = run.mail > run.taken, elsewhere = '', expires = false,
    has_timers = false, walks = false, parent = nil, told = nil,
  }
  local told = nil
  if parent then
    local f = redis.call('HMGET', parent.run_key, 'status', 'mail', 'owner', 'nudged', 'gen')
    if f[1] then told = { status = f[1], mail = tonumber(f[2]) or 0, owner = f[3] or '', nudged = f[4], gen = f[5] } end
  end
  -- A child stays readable while its parent is kept: it gets a time to live of its own only if the parent's has begun
  -- already; otherwise the walk over the root's tree sets it.
  plan.expires = not told or (TERMINAL[told.status] and redis.call('PTTL', parent.run_key) ~= -1)
  -- A parent that has begun another life since has not asked for this.
  if told and run.notify == '1' and (told.gen or '1') == (run.pgen or '1') and not TERMINAL[told.status] then
    -- The worker's stream is usable only if it is the one the caller declared.
    local is_declared = told.owner ~= '' and told.owner == parent.owner
    plan_message(parent.inbox_key, told, is_declared and parent.worker_key or nil, parent.queue_key)
    plan.parent, plan.told = parent, told
    -- The parent runs on another worker than it was hinted: whoever ran this script nudges it there.
    if told.status == 'running' and not is_declared and told.nudged ~= '1' then plan.elsewhere = told.owner end
  end
  plan.has_timers = run.timer ~= '' or run.grace ~= '' or run.deadline ~= ''
  if plan.has_timers then redis.call('ZCARD', keys.timers) end
  plan.walks = plan.expires and run.kids > 0
  if plan.walks then redis.call('HLEN', keys.walks) end
  return plan
end

-- The one way in which a run becomes terminal, whoever ends it. Once per run: the caller has seen that the status is
-- not terminal. The journal's last line is the outcome; the parent's message and wake-up are written here, so a child
-- that has ended and a parent that was not told cannot both be true. `lines` go into the journal before the outcome,
-- `set` are further fields of the record; `now` may be text.
local function finish_run(now, keys, id, plan, status, payload, lines, set)
  lines[#lines + 1] = 'Z' .. now .. ' ' .. status .. '\n' .. payload
  append_lines(keys.journal, lines)
  if plan.has_mail then redis.call('DEL', keys.inbox) end
  if plan.has_timers then redis.call('ZREM', keys.timers, 'w' .. id, 'd' .. id, 'g' .. id, 'r' .. id) end
  redis.call('HSET', keys.run, 'status', status, 'finished', now, 'entry', '', unpack(set))
  if plan.walks then redis.call('HSET', keys.walks, 'e' .. id, 0) end
  if plan.expires and plan.retention then
    redis.call('PEXPIRE', keys.run, plan.retention)
    redis.call('PEXPIRE', keys.journal, plan.retention)
  end
  if plan.told then
    local parent = plan.parent
    local body = 'C' .. TERMINAL[status] .. id .. '\n' .. payload
    deliver_message(now, parent.run_key, parent.inbox_key, parent.id, plan.told, body, {})
  end
end
