--- @include "lib/terminal"
--- @include "lib/deliver"

-- The one way in which a run becomes terminal, whoever ends it. Once per run: the
-- caller has seen that the status is not terminal. The journal's last line is the
-- outcome; the parent's message and wake-up are written here, so a child that has
-- ended and a parent that was not told cannot both be true.
-- `run` holds the fields read by this script: mail, taken, timer, grace, kids,
-- retention, notify. `parent` is nil for a root.
local function finish_run(now, keys, id, run, status, payload, parent, extra)
  redis.call('RPUSH', keys.journal, 'Z' .. now .. ' ' .. status .. '\n' .. payload)
  if run.mail > run.taken then redis.call('DEL', keys.inbox) end
  if run.timer ~= '' or run.grace ~= '' then
    redis.call('ZREM', keys.timers, 'w' .. id, 'd' .. id, 'g' .. id)
  end
  local set = { 'status', status, 'finished', now, 'entry', '', 'waiting', '' }
  for i = 1, #extra do set[#set + 1] = extra[i] end
  redis.call('HSET', keys.run, unpack(set))
  -- A child stays readable while its parent is kept: it gets a time to live of its own only if the parent's
  -- has begun already; otherwise the walk over the root's tree sets it.
  local told = parent and read_parent(parent)
  local expires = not told or (TERMINAL[told.status] and redis.call('PTTL', parent.run_key) ~= -1)
  if expires then
    if run.kids > 0 then redis.call('HSET', keys.walks, 'e' .. id, 0) end
    redis.call('PEXPIRE', keys.run, run.retention)
    redis.call('PEXPIRE', keys.journal, run.retention)
  end
  if told and run.notify == '1' and not TERMINAL[told.status] then
    tell_parent(now, parent, told, id, TERMINAL[status], payload)
  end
end
