--- @include "lib/terminal"
--- @include "lib/deliver"
--- @include "lib/retention"
--- @include "lib/room"

-- What must be true of a run at every moment, and what is done where it is not: the one place that knows. Every
-- transition is one script, so what this finds is never something in between: it is damage, by hands or by a store that
-- lost what it had acknowledged. The kinds are explained in structure.py, under the names used here.

-- What no script can mend.
local INCURABLE = { outcome_gone = true, unreadable = true }
local TIMER_LETTERS = { 'w', 'd', 'g', 'r' }
local DAY_MS = 86400000
local ACTIVE = { delayed = true, ready = true, running = true, parked = true, blocked = true }

-- Whether the id of a stream entry is later than another one.
local function is_later(entry_id, other)
  local ms, seq = string.match(entry_id, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  if not ms or not other_ms then return false end
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(seq) > tonumber(other_seq))
end

-- Whether the entry that a record names will be read, or is in somebody's hands. One that was read and is pending for
-- nobody (its consumer was deleted by hand, or it was acked by hand) lies in its stream for ever.
local function is_entry_held(entry, stream_key)
  local entry_id = string.sub(entry, 2)
  local found = redis.pcall('XRANGE', stream_key, entry_id, entry_id)
  if found.err or #found == 0 then return false end
  local pending = redis.pcall('XPENDING', stream_key, 'workers', entry_id, entry_id, 1)
  -- Without a group: whoever reads next makes it anew, from the beginning.
  if pending.err or #pending > 0 then return true end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream_key)) do
    local is_ours, delivered = false, '0-0'
    for i = 1, #group, 2 do
      if group[i] == 'name' then is_ours = group[i + 1] == 'workers' end
      if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
    end
    if is_ours then return is_later(entry_id, delivered) end
  end
  return true
end

-- The record as far as its structure goes, or nil; an error reply if it is no record.
local function read_links(run_key)
  local f = redis.pcall('HMGET', run_key, 'status', 'entry', 'owner', 'queue', 'parent', 'epoch', 'mail', 'timer',
    'grace', 'cancel_at', 'kids', 'retention', 'claims', 'created', 'workflow', 'taken', 'saga', 'deadline', 'gen',
    'leave')
  if f.err then return f end
  if not f[1] then return nil end
  return {
    status = f[1], entry = f[2] or '', owner = f[3] or '', queue = f[4] or '', parent = f[5] or '',
    epoch = tonumber(f[6]) or 0, mail = tonumber(f[7]) or 0, timer = tonumber(f[8] or ''), grace = tonumber(f[9] or ''),
    cancel_at = tonumber(f[10]) or 0, kids = tonumber(f[11]) or 0, retention = f[12], claims = tonumber(f[13]) or 0,
    created = tonumber(f[14]), workflow = f[15] or '', taken = tonumber(f[16]) or 0,
    saga = f[17] or '', deadline = tonumber(f[18] or ''), gen = f[19],
    leaves = f[20] == '1',
  }
end

-- What a run leaves behind whose record is gone.
local function find_leftovers(keys, id, plan)
  for _, letter in ipairs(TIMER_LETTERS) do
    if redis.call('ZSCORE', keys.timers, letter .. id) then plan.found.timer_left = true end
  end
  if redis.call('HEXISTS', keys.blocked, id) == 1 then plan.found.block_left = true end
  -- A list of children, and what they share, is needed as long as the walk goes on that expires them.
  local is_walked = redis.call('HEXISTS', keys.walks, 'e' .. id) == 1
  for _, key in ipairs({ keys.journal, keys.inbox, keys.children, keys.shared }) do
    local is_theirs = key == keys.children or key == keys.shared
    if redis.call('PTTL', key) == -1 and not (is_theirs and is_walked) then
      plan.orphans[#plan.orphans + 1] = key
      plan.found.orphan = true
    end
  end
end

-- Whether a run is known to the room of its limited queue: it waits there, or was let in under an entry that is held.
local function is_in_room(keys, run, id)
  local room = open_room(keys.room[1], keys.room[2], keys.room[3], run.entry)
  local key, slot = redis.call('HGET', keys.run, 'key') or '', find_slot(room, id)
  if slot then return is_entry_held(slot, room.stream_key) end
  local score = string.match(run.entry, '^G%d+%-(%d+)$') or ''
  return (redis.call('ZSCORE', room.room_key, id .. '\n' .. key)
    or redis.call('ZSCORE', room.behind_key, key .. '\0' .. score .. id)) and true or false
end

-- Its entry: one if it is ready or running, none otherwise.
local function find_entry_damage(keys, run, id, plan)
  if run.status ~= 'ready' and run.status ~= 'running' then
    if run.entry == '' then return end
    plan.found.entry_left = true
    plan.drop_key = find_entry(run.entry, run.owner ~= '' and keys.worker or nil, keys.queue)
    return
  end
  local stream_key = string.sub(run.entry, 1, 1) == 'W' and keys.worker or keys.queue
  if run.entry ~= '' and is_entry_held(run.entry, stream_key) then return end
  -- Let in into a limited queue, it has an entry in the stream of priority 0.
  if string.sub(run.entry, 1, 1) == 'Q' and is_entry_held(run.entry, keys.room[1][keys.room[2] + 7]) then return end
  if run.status == 'ready' and string.sub(run.entry, 1, 1) == 'G' and is_in_room(keys, run, id) then return end
  plan.found.entry_gone = true
  plan.drop_key = find_entry(run.entry, run.owner ~= '' and keys.worker or nil, keys.queue)
  -- Into the queue: who has it now, if anybody does, is fenced, and told so that it looks at once.
  redis.call('XLEN', keys.queue)
  if run.status == 'running' and run.owner ~= '' and redis.call('TYPE', keys.worker).ok == 'stream' then
    plan.nudge_key = keys.worker
  end
end

-- Its timers. One that was handed out is due again within the lease; `w` of a run that goes on is gone when it is due,
-- and so is the grace of one that has something to undo. A run's own time is put off, by a grace that others know, for
-- as long as its owner may still end it.
local function find_timer_damage(keys, run, id, now, lease_ms, plan)
  local due = { w = run.status == 'parked' and run.timer or nil, g = ACTIVE[run.status] and run.grace or nil }
  local may_stay = { w = ACTIVE[run.status] and run.status ~= 'blocked', g = due.g and run.saga ~= '' }
  if may_stay.g then due.g = nil end
  due.r = ACTIVE[run.status] and run.deadline or nil
  if run.status == 'delayed' then due.d = run.timer or now end
  for _, letter in ipairs(TIMER_LETTERS) do
    local score = redis.call('ZSCORE', keys.timers, letter .. id)
    if due[letter] then
      if not score or tonumber(score) > math.max(due[letter], now) + (letter == 'r' and DAY_MS or lease_ms) then
        plan.found.timer_gone = true
        plan.arm[#plan.arm + 1], plan.arm[#plan.arm + 2] = due[letter], letter .. id
      end
    elseif score and not may_stay[letter] then
      plan.found.timer_left = true
      plan.disarm[#plan.disarm + 1] = letter .. id
    end
  end
end

-- A parked run must hear of what it waits for. `awaited` are the children its record says it waits for: id, keys, and
-- whether the journal was found not to hold their end (`is_untold`), which only the caller can tell.
local function find_unheard(keys, run, awaited, plan)
  if redis.call('LLEN', keys.inbox) > 0 then
    -- What is not counted is nobody's message: the run would be woken, not be shown it, and park again.
    plan.found[run.mail > run.taken and 'message_left' or 'inbox_left'] = true
  else
    for _, child in ipairs(awaited) do
      local f = redis.pcall('HMGET', child.run_key, 'status', 'notify', 'pgen')
      if not f.err and (not f[1] or TERMINAL[f[1]]) then
        if child.is_untold then
          plan.found.child_settled = true
          child.letter, child.payload = 'x', 'the record of run ' .. child.id .. ' is gone'
          if f[1] then
            local outcome = redis.call('LINDEX', child.journal_key, -1) or ''
            child.letter, child.payload = TERMINAL[f[1]], string.match(outcome, '^Z[^\n]*\n(.*)$') or ''
          end
          plan.tells[#plan.tells + 1] = child
        else
          -- It may be about to be called again, after a failure that was told.
          plan.asks[#plan.asks + 1] = child.id
        end
      elseif not f.err and (f[2] ~= '1' or (f[3] or '1') ~= (run.gen or '1')) then
        -- Not asked to tell, or asked by an earlier life of its parent.
        plan.found.child_silent = true
        plan.deaf[#plan.deaf + 1] = child.run_key
      end
    end
  end
  if plan.found.message_left or #plan.tells > 0 then
    plan.wake_letter, plan.wake_key = find_stream(run.owner ~= '' and keys.worker or nil, keys.queue)
  end
end

-- Below a run that was cancelled: told so, or about to be. What the walk has to reach are the children that were there
-- when it was marked. Only while the mark holds: a run that was started again may have an old one.
local function find_missed_cancel(keys, run, id, plan)
  -- No cancel reaches one that has ended but for its compensations.
  if not keys.parent or run.cancel_at > 0 or run.saga == 'undoing' then return end
  local f = redis.pcall('HMGET', keys.parent, 'status', 'cancel', 'cancel_at', 'cancel_kids')
  if f.err or not f[1] or not f[2] or not (TERMINAL[f[1]] or (tonumber(f[3]) or 0) > 0) then return end
  local number = redis.call('ZSCORE', keys.siblings, id)
  if not number or tonumber(number) > (tonumber(f[4]) or 0) then return end
  for _, letter in ipairs({ 'x', 't', 'o' }) do
    if redis.call('HEXISTS', keys.walks, letter .. run.parent) == 1 then return end
  end
  -- A run that failed without its own doing takes along only those that were not to outlive it.
  local is_cancel = f[1] == 'cancelled' or (tonumber(f[3]) or 0) > 0
  if run.leaves and not is_cancel then return end
  plan.found.cancel_gone, plan.walk = true, (is_cancel and 'x' or 'o') .. run.parent
end

-- An ended run is kept for its retention, a child, and the list of them, for as long as the parent.
local function find_end_damage(keys, run, id, plan)
  if redis.call('LLEN', keys.inbox) > 0 then plan.found.inbox_left = true end
  if string.sub(redis.call('LINDEX', keys.journal, -1) or '', 1, 1) ~= 'Z' then plan.found.outcome_gone = true end
  plan.retention = retention_of(run.retention)
  if not plan.retention then return end
  if redis.call('PTTL', keys.run) ~= -1 then
    -- Its own time to live has begun, and nobody is on the way to give one to its children and what belongs to them.
    local is_walked = redis.call('HEXISTS', keys.walks, 'e' .. id) == 1
    local is_kept = redis.call('PTTL', keys.children) == -1 or redis.call('PTTL', keys.shared) == -1
    plan.found.ttl_gone = run.kids > 0 and not is_walked and is_kept or nil
    plan.has_ttl = true
    return
  end
  if keys.parent then
    local status = redis.pcall('HMGET', keys.parent, 'status')[1]
    if status and (not TERMINAL[status] or redis.call('PTTL', keys.parent) == -1) then return end
    if redis.call('HEXISTS', keys.walks, 'e' .. run.parent) == 1 then return end
  end
  redis.call('HLEN', keys.walks)
  plan.found.ttl_gone = true
end

-- Its queue: workers learn from `gates` which priorities of a queue have a stream of their own.
local function find_lane_damage(keys, run, plan)
  if string.find(run.queue, ':', 1, true) and redis.call('HEXISTS', keys.gates, 'v' .. run.queue) == 0 then
    plan.found.lane_gone = true
  end
end

-- Everything that is wrong with one run, and what a repair needs to know. Only reads.
local function read_damage(keys, id, run, awaited, now, lease_ms)
  local plan = { found = {}, orphans = {}, arm = {}, disarm = {}, deaf = {}, asks = {}, tells = {} }
  if not run then
    find_leftovers(keys, id, plan)
    return plan
  end
  if not ACTIVE[run.status] and not TERMINAL[run.status] then
    plan.found.unreadable = true
    return plan
  end
  find_entry_damage(keys, run, id, plan)
  find_timer_damage(keys, run, id, now, lease_ms, plan)
  if (redis.call('HEXISTS', keys.blocked, id) == 1) ~= (run.status == 'blocked') then
    plan.found[run.status == 'blocked' and 'block_gone' or 'block_left'] = true
  end
  if not redis.call('ZSCORE', keys.index, id) then plan.found.index_gone = true end
  if TERMINAL[run.status] then
    find_end_damage(keys, run, id, plan)
  else
    find_missed_cancel(keys, run, id, plan)
    find_lane_damage(keys, run, plan)
    if run.status == 'parked' then find_unheard(keys, run, awaited, plan) end
  end
  return plan
end

-- Writes what a plan says; nothing is checked any more.
local function repair_damage(keys, id, run, plan, now, orphan_ms)
  local found, set = plan.found, {}
  local function put(name, value)
    set[#set + 1], set[#set + 2] = name, value
  end
  if found.timer_left and not run then redis.call('ZREM', keys.timers, 'w' .. id, 'd' .. id, 'g' .. id, 'r' .. id) end
  if found.block_left then redis.call('HDEL', keys.blocked, id) end
  for _, key in ipairs(plan.orphans) do redis.call('PEXPIRE', key, orphan_ms) end
  if not run then return end
  if #plan.arm > 0 then redis.call('ZADD', keys.timers, unpack(plan.arm)) end
  if #plan.disarm > 0 then redis.call('ZREM', keys.timers, unpack(plan.disarm)) end
  if found.block_gone then redis.call('HSET', keys.blocked, id, run.workflow) end
  if found.index_gone then redis.call('ZADD', keys.index, run.created or now, id) end
  if found.cancel_gone then redis.call('HSET', keys.walks, plan.walk, 0) end
  if found.lane_gone then redis.call('HSET', keys.gates, 'v' .. run.queue, '1') end
  if found.inbox_left then redis.call('DEL', keys.inbox) end
  for _, run_key in ipairs(plan.deaf) do
    redis.call('HSET', run_key, 'notify', '1', 'hint', run.owner)
    if run.gen then redis.call('HSET', run_key, 'pgen', run.gen) else redis.call('HDEL', run_key, 'pgen') end
  end
  if plan.drop_key then drop_entry(run.entry, plan.drop_key) end
  if found.entry_left then put('entry', '') end
  if found.entry_gone then
    put('status', 'ready')
    put('entry', add_entry(id, 'Q', keys.queue))
    if run.status == 'running' then
      put('epoch', run.epoch + 1)
      put('claims', math.max(run.claims - 1, 0))
      put('owner', '')
    end
  elseif #plan.tells > 0 then
    run.wake_letter, run.wake_key = plan.wake_letter, plan.wake_key
    for _, child in ipairs(plan.tells) do
      deliver_message(now, keys.run, keys.inbox, id, run, 'C' .. child.letter .. child.id .. '\n' .. child.payload, {})
      run.mail, run.wake_key = run.mail + 1, nil
    end
  elseif found.message_left then
    put('status', 'ready')
    put('entry', add_entry(id, plan.wake_letter, plan.wake_key))
  end
  if #set > 0 then redis.call('HSET', keys.run, unpack(set)) end
  if plan.nudge_key then redis.call('XADD', plan.nudge_key, '*', 'n', id) end
  if found.ttl_gone then
    if run.kids > 0 then redis.call('HSET', keys.walks, 'e' .. id, 0) end
    if not plan.has_ttl then
      redis.call('PEXPIRE', keys.run, plan.retention)
      redis.call('PEXPIRE', keys.journal, plan.retention)
    end
  end
end
