-- The reads of a run's renewal: everything that is written and was not read. `times` are the delay of the new life and
-- its longest time, as of a new run.
local function plan_renewal(keys, queue_key, times, deadline)
  local delay, timeout = string.match(times, '^(%d+) (%d+)$')
  redis.call('XLEN', queue_key)
  redis.call('ZCARD', keys.timers)
  return { queue_key = queue_key, delay = tonumber(delay), timeout = tonumber(timeout), deadline = deadline }
end

-- Begins another life of a run: from a fresh journal, under the same id, for any worker. The caller has seen that no
-- message waits. The copy of the owner counts no more: its fence is that of a run that has no owner now.
local function renew_run(now, keys, id, plan, start, lines, set)
  redis.call('DEL', keys.journal, keys.inbox)
  redis.call('RPUSH', keys.journal, start)
  append_lines(keys.journal, lines)
  local function put(name, value)
    set[#set + 1] = name
    set[#set + 1] = value
  end
  redis.call('ZREM', keys.timers, 'w' .. id, 'd' .. id, 'r' .. id)
  if plan.delay > 0 then
    redis.call('ZADD', keys.timers, now + plan.delay, 'd' .. id)
    put('status', 'delayed')
    put('timer', now + plan.delay)
    put('entry', '')
  else
    put('status', 'ready')
    put('timer', '')
    put('entry', add_entry(id, 'Q', plan.queue_key))
  end
  if plan.timeout > 0 then
    redis.call('ZADD', keys.timers, now + plan.delay + plan.timeout, 'r' .. id)
    put('deadline', now + plan.delay + plan.timeout)
  elseif plan.deadline ~= '' then
    put('deadline', '')
  end
  put('claims', 0)
  redis.call('HSET', keys.run, unpack(set))
  redis.call('HDEL', keys.run, 'started')
end
