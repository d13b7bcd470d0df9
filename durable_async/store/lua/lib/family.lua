--- @include "lib/digest"
--- @include "lib/terminal"
--- @include "lib/create"
--- @include "lib/lanes"

-- Whether a record that was found under a new child's id is that of the same call: then it is joined.
local function is_same_call(found, fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'workflow' and fields[i + 1] ~= found[2] then return false end
    if fields[i] == 'digest' and not is_same_digest(fields[i + 1], found[3]) then return false end
  end
  return true
end

local function is_notified(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'notify' then return fields[i + 1] == '1' end
  end
  return false
end

-- Whether an active child is being cancelled: it is marked, or the walk that marks it has not come to it yet.
local function is_cancelled(family, child, found)
  return found[6] or redis.call('HGET', family.walks_key, 'c' .. child.id)
end

-- What becomes of one new child. A record under its id is a leftover: this life of the parent writes the child and the
-- line that says so in one script, and never again. An ended one is run again, as a new generation that keeps the list
-- of children, so that none of them is left without an end of its time to live. One still active that an earlier life
-- of the parent made is waited for, and run again when it has ended; a further attempt of the parent (mode `k`) joins
-- it, unless it is being cancelled, and keeps what it finds completed for the same call. One still active that this
-- very life made is a loss of writes: joined, or, if it is another call's, left what it is.
local function decide_child(family, child, found)
  local is_same = found[1] and is_same_call(found, child.fields)
  local keeps = string.find(child.mode, 'k', 1, true)
  -- Created under a cancelled parent: born cancelled, unless cleanup asked for it.
  local is_unborn = family.is_cancelled and not string.find(child.mode, 'c', 1, true)
  if found[1] and not TERMINAL[found[1]] then
    if (found[5] or '1') == family.gen or (keeps and is_same and not is_cancelled(family, child, found)) then
      return is_same and 'join' or 'refuse'
    end
    if is_unborn then return 'refuse' end
    family.has_to_wait = true
    return 'wait'
  end
  if found[1] == 'completed' and keeps and is_same then
    child.outcome = redis.call('LINDEX', child.journal_key, -1) or ''
    return 'keep'
  end
  if found[1] then
    redis.call('HLEN', family.walks_key)
    local n = #child.fields
    child.fields[n + 1], child.fields[n + 2] = 'gen', (tonumber(found[7]) or 1) + 1
    if found[4] then child.fields[n + 3], child.fields[n + 4] = 'kids', found[4] end
  end
  child.is_leftover = found[1]
  if is_unborn then return 'bury' end
  if child.delay > 0 or child.timeout > 0 then redis.call('ZCARD', family.timers_key) end
  if child.delay == 0 and not family.queues[child.queue_key] then
    redis.call('XLEN', child.queue_key)
    family.queues[child.queue_key] = true
  end
  return 'create'
end

-- Where the inputs go that several of the children have: to the highest of the runs above, as far up as all of them
-- are active, and listed by their parents. For a list is what the walk of an ended run goes by, before the holder goes;
-- an id that was used again does not list what an earlier run of that id has started. Three keys for each run above.
local function read_holders(family, next_key, at, keys, args)
  local holders, id = { keys[next_key] }, family.id
  redis.call('HLEN', holders[1])
  local first = next_key + 1
  next_key = first + 3 * family.n_above
  for i = first, next_key - 1, 3 do
    -- What is damaged up there is not this run's trouble.
    local f, number = redis.pcall('HMGET', keys[i], 'status', 'kids'), redis.pcall('ZSCORE', keys[i + 1], id)
    local is_listed = type(number) == 'string' and tonumber(number) <= (tonumber(f[2]) or 0)
    if not f[1] or TERMINAL[f[1]] or not is_listed or type(redis.pcall('HLEN', keys[i + 2])) ~= 'number' then break end
    holders[#holders + 1], id = keys[i + 2], string.match(id, '^(.*)/')
  end
  family.holders, family.shared = holders, {}
  for i = at + 1, at + 2 * family.n_shared, 2 do
    local is_there = redis.call('HSTRLEN', holders[#holders], args[i]) > 0
    -- Known to be up there, as the caller thought; but somebody has ended since.
    if not is_there and args[i + 1] == '' then family.is_short = true end
    family.shared[#family.shared + 1] = { args[i], not is_there and args[i + 1] or nil }
  end
  return next_key, at + 2 * family.n_shared
end

-- The reads for the children that a commit creates, and for the inputs that several of them have. Five arguments and
-- three keys for each child; returns what is next.
local function read_new_children(family, n_new, next_key, at, keys, args)
  if n_new == 0 then return next_key, at end
  family.children_key, family.index_key, family.queues = keys[next_key], keys[next_key + 1], {}
  next_key = next_key + 2
  if family.n_shared > 0 then next_key, at = read_holders(family, next_key, at, keys, args) end
  redis.call('ZCARD', family.index_key)
  if family.kids > 0 then redis.call('ZCARD', family.children_key) end
  for i = 1, n_new do
    local child = {
      id = args[at + 1], fields = cmsgpack.unpack(args[at + 2]), record = args[at + 3], mode = args[at + 5],
      run_key = keys[next_key], journal_key = keys[next_key + 1], queue_key = keys[next_key + 2],
    }
    child.delay, child.timeout = times_of(args[at + 4])
    at, next_key = at + 5, next_key + 3
    if string.find(child.mode, 'v', 1, true) then
      child.gates_key, next_key = keys[next_key], next_key + 1
      redis.call('HLEN', child.gates_key)
    end
    child.fate = decide_child(family, child, redis.call('HMGET', child.run_key, 'status', 'workflow', 'digest',
      'kids', 'pgen', 'cancel', 'gen'))
    if child.fate ~= 'refuse' then family.n_listed = family.n_listed + 1 end
    family.new[i], family.by_id[child.id] = child, child
  end
  return next_key, at
end

-- A child that was started only, and is now awaited: from here on its end is told, or is told at once.
local function read_awaited(family, child_id, run_key, journal_key)
  local born = family.by_id[child_id]
  if born then
    born.fields[#born.fields + 1], born.fields[#born.fields + 2] = 'notify', '1'
    return
  end
  local f = redis.call('HMGET', run_key, 'status', 'notify')
  if not f[1] then
    -- Deleted by hand, or lost: nobody else would ever tell.
    family.tells[#family.tells + 1] = { 'cancelled', child_id, 'the record of run ' .. child_id .. ' is gone' }
  elseif f[2] ~= '1' then
    family.awaited[#family.awaited + 1] = run_key
    if TERMINAL[f[1]] then
      local outcome = redis.call('LINDEX', journal_key, -1) or ''
      family.tells[#family.tells + 1] = { f[1], child_id, string.match(outcome, '^Z[^\n]*\n(.*)$') or '' }
    end
  end
end

-- Everything a commit must know about children before it writes: those it creates, those it awaits, and what is to be
-- told to the run itself (`tells`). Returns the next unused key and the last used argument.
local function read_family(family, n_new, n_await, next_key, at, keys, args)
  family.new, family.by_id, family.awaited, family.tells, family.n_listed = {}, {}, {}, {}, 0
  next_key, at = read_new_children(family, n_new, next_key, at, keys, args)
  for _ = 1, n_await do
    read_awaited(family, args[at + 1], keys[next_key], keys[next_key + 1])
    next_key, at = next_key + 2, at + 1
  end
  for _, child in ipairs(family.new) do
    if child.fate == 'wait' then
      -- Whether it is awaited or only to be started: somebody must start it when the id is free.
      family.tells[#family.tells + 1] = { nil, child.id }
    elseif is_notified(child.fields) and (child.fate == 'bury' or child.fate == 'refuse') then
      local reason = 'parent ' .. family.id .. ' was cancelled'
      if child.fate == 'refuse' then reason = 'its id belongs to another active run' end
      family.tells[#family.tells + 1] = { 'cancelled', child.id, reason }
    elseif is_notified(child.fields) and child.fate == 'keep' then
      family.tells[#family.tells + 1] = { 'completed', child.id, string.match(child.outcome, '^Z[^\n]*\n(.*)$') or '' }
    end
  end
  return next_key, at
end

-- Writes a child that has ended before it began: a record and an outcome, no entry.
local function bury_child(family, child)
  local fields, now = child.fields, family.now
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'finished', now
  fields[n + 5], fields[n + 6] = 'status', 'cancelled'
  redis.call('HSET', child.run_key, unpack(fields))
  redis.call('DEL', child.journal_key)
  local outcome = 'Z' .. now .. ' cancelled\nparent ' .. family.id .. ' was cancelled'
  redis.call('RPUSH', child.journal_key, child.record, outcome)
end

local LINKS = { pqueue = true, hint = true, notify = true, leave = true, attempt = true }

-- What a child that is joined is told of its parent. The rest of its record is its own: under another queue or key, as
-- newer code may ask for, its entry would not be found, nor its place in a limited queue given back.
local function links_of(family, fields)
  local set = { 'pgen', family.gen }
  for i = 1, #fields, 2 do
    if LINKS[fields[i]] then
      set[#set + 1] = fields[i]
      set[#set + 1] = fields[i + 1]
    end
  end
  return set
end

-- Inputs that are stored once: with the holder; a mark is what those between it and the children have.
local function write_shared(family)
  local n = #family.holders
  for i, shared_key in ipairs(family.holders) do
    for _, input in ipairs(family.shared) do
      if i < n then
        redis.call('HSETNX', shared_key, input[1], '')
      elseif input[2] then
        redis.call('HSET', shared_key, input[1], input[2])
      end
    end
    -- What children of an earlier record of this id have shared may be about to expire.
    redis.call('PERSIST', shared_key)
  end
end

-- Writes what read_family has decided.
local function write_family(family)
  local members, listed, kids = {}, {}, family.kids
  if family.n_shared > 0 then write_shared(family) end
  for _, child in ipairs(family.new) do
    if child.is_leftover then
      redis.call('DEL', child.run_key)
      -- A walk that was to cancel the life before is done with.
      redis.call('HDEL', family.walks_key, 'c' .. child.id)
    end
    if child.fate == 'create' then
      create_run(family.now, child.run_key, child.journal_key, child.queue_key, family.timers_key, child.id,
        child.fields, child.record, child.delay, child.timeout)
      if child.gates_key then note_lane(child.gates_key, child.fields) end
    elseif child.fate == 'bury' then
      bury_child(family, child)
    elseif child.fate == 'join' or child.fate == 'keep' then
      if child.fate == 'join' then redis.call('HSET', child.run_key, unpack(links_of(family, child.fields))) end
      -- An earlier life has awaited it, this one has not yet: when it does, it is to be told.
      if not is_notified(child.fields) then redis.call('HSET', child.run_key, 'notify', '') end
    elseif child.fate == 'wait' then
      redis.call('HSET', child.run_key, 'notify', '1', 'pgen', family.gen, 'hint', family.owner)
    end
    if child.fate ~= 'refuse' then
      kids = kids + 1
      members[#members + 1], members[#members + 2] = kids, child.id
      listed[#listed + 1], listed[#listed + 2] = family.now, child.id
    end
  end
  if #members > 0 then
    -- Children listed under this id before its first are those of an earlier life.
    if family.kids == 0 then redis.call('DEL', family.children_key) end
    redis.call('ZADD', family.children_key, unpack(members))
    redis.call('ZADD', family.index_key, unpack(listed))
  end
  -- The hint is where the run lives now, not where it lived when it started the child.
  for _, run_key in ipairs(family.awaited) do redis.call('HSET', run_key, 'notify', '1', 'hint', family.owner) end
end
