--- @include "lib/entry"

-- A delay and a run's longest time, in ms, from `<delay> <timeout>`; an empty text, which most runs have, is neither.
local function times_of(text)
  if text == '' then return 0, 0 end
  local delay, timeout = string.match(text, '^(%d+) (%d+)$')
  return tonumber(delay) or 0, tonumber(timeout) or 0
end

-- Writes a new run: its record, the first line of its journal, and the entry (or the timer) that gets it started. The
-- caller has seen that the id is free, and that no key it hands over has a wrong type: the queue if there is no delay
-- may be unread if this is the first write. `fields` are the flat names and values that never change; `now` may be
-- text.
local function create_run(now, run_key, journal_key, queue_key, timers_key, id, fields, record, delay_ms, timeout_ms)
  local status, what, value = 'ready', 'entry', nil
  if delay_ms > 0 then
    status, what, value = 'delayed', 'timer', now + delay_ms
    redis.call('ZADD', timers_key, value, 'd' .. id)
  else
    value = add_entry(id, 'Q', queue_key)
  end
  if timeout_ms > 0 then
    local n = #fields
    fields[n + 1], fields[n + 2] = 'deadline', now + delay_ms + timeout_ms
    redis.call('ZADD', timers_key, now + delay_ms + timeout_ms, 'r' .. id)
  end
  -- What is read most comes first: a small record is searched from its beginning.
  redis.call('HSET', run_key, 'status', status, what, value, 'created', now, unpack(fields))
  if redis.pcall('RPUSH', journal_key, record) ~= 1 then
    -- A journal without a record is a leftover of an earlier life: its lines, and its time to live, are not this run's.
    redis.call('DEL', journal_key)
    redis.call('RPUSH', journal_key, record)
  end
end
