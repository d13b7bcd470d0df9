-- Appends what the owner's run has seen and done, applies its effects, and goes on, parks, blocks or ends it.
-- Slots: after the fixed keys come, if children are created, `children`, `index` and run, journal, queue of
--   each; then run and journal of each awaited child; then, if the run has a parent and ends, the parent's
--   run, inbox, worker stream and queue. ARGV from 13 on: the list (letter and value in turn), the children
--   (id, fields, record, delay, cleanup), the awaited child ids, the walks (item and value in turn), and with
--   a parent its id and the worker whose stream was declared.
-- Returns: {OK | PARKED | ENDED | FENCED, now, messages not taken, waiting clients}
-- Writes: run, journal, inbox, timers, walks, children, index, queues, the parent's run, inbox and streams.
-- Repeat-safe: seq = last gets the stored answer, with the messages not yet taken.
-- Wakes: new children's queues; the parent.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local timers_key = KEYS[4]
local walks_key = KEYS[5]
local given_now = ARGV[1]
local id = ARGV[2]
local epoch = ARGV[3]
local nonce = ARGV[4]
local seq = ARGV[5]
local entry = ARGV[6]
local want = ARGV[7]
local due_ms = ARGV[8]
local set_packed = ARGV[9]
local payload = ARGV[10]
local counts = ARGV[11]
local page = ARGV[12]
--- @include "lib/now"
--- @include "lib/create"
--- @include "lib/finish"

local n_list, n_new, n_await, n_walks, has_parent = string.match(counts, '(%d+) (%d+) (%d+) (%d+) (%d+)')
n_list, n_new, n_await, n_walks = tonumber(n_list), tonumber(n_new), tonumber(n_await), tonumber(n_walks)
local last = tonumber(page) - 1

local f = redis.call('HMGET', run_key, 'status', 'epoch', 'nonce', 'seq', 'entry', 'answer', 'mail', 'taken',
  'cancel_at', 'timer', 'grace', 'kids', 'retention', 'notify', 'client', 'nudged')
local mail, taken = tonumber(f[7]) or 0, tonumber(f[8]) or 0
local now = now_ms(given_now)

-- A stale owner (reaped, released, or of a time the server has lost) changes nothing.
if not f[1] or f[2] ~= epoch or f[3] ~= nonce then return { STATUS.FENCED, now } end
if f[4] == seq then
  -- The reply to this very commit was lost: the stored answer, never a second look at park or end.
  local inbox = {}
  if f[6] == tostring(STATUS.OK) and mail > taken then inbox = redis.call('LRANGE', inbox_key, 0, last) end
  return { tonumber(f[6]), now, inbox, f[15] or '' }
end
if tonumber(f[4]) + 1 ~= tonumber(seq) or f[1] ~= 'running' or f[5] ~= entry then return { STATUS.FENCED, now } end

-- The list is what the body saw, in its order. Takes and drops name their message by number and time, so that
-- a message which took another's number after a loss of writes is not mistaken for it.
local records, consumed, at = {}, 0, 12
local inbox = {}
if mail > taken then inbox = redis.call('LRANGE', inbox_key, 0, last) end
for i = 1, n_list do
  local letter, value = ARGV[at + 1], ARGV[at + 2]
  at = at + 2
  if letter == 'R' then
    records[#records + 1] = value
  else
    consumed = consumed + 1
    local message = inbox[consumed]
    if not message or string.sub(message, 1, #value) ~= value then return { STATUS.FENCED, now } end
    if letter == 'T' then records[#records + 1] = message end
  end
end
taken = taken + consumed
local left = {}
for i = consumed + 1, #inbox do left[#left + 1] = inbox[i] end

-- A run that would park with a message waiting, or end with a cancel waiting, does not: no wake-up is lost and
-- a promised cancel is kept.
local cancel_at = tonumber(f[9]) or 0
local kids = tonumber(f[12]) or 0
local next_key = 6
if want == 'park' and mail > taken then want = 'go' end
local ending = want ~= 'go' and want ~= 'park' and want ~= 'block'
if ending and cancel_at > taken then want, ending = 'go', false end

-- From here on only writes.
if #records > 0 then
  for i = 1, #records, 1000 do redis.call('RPUSH', journal_key, unpack(records, i, math.min(i + 999, #records))) end
end
if consumed > 0 then redis.call('LTRIM', inbox_key, consumed, -1) end

local set = {}
if set_packed ~= '' then set = cmsgpack.unpack(set_packed) end
local function put(name, value)
  set[#set + 1] = name
  set[#set + 1] = value
end

-- What this script itself has to say to the run goes the way of every other message.
local told = 0
local function tell(letter, child_id, result)
  mail, told = mail + 1, told + 1
  local message = 'M' .. mail .. ' ' .. now .. ' C' .. letter .. child_id .. '\n' .. result
  redis.call('RPUSH', inbox_key, message)
  left[#left + 1] = message
end

if n_new > 0 then
  local children_key, index_key = KEYS[6], KEYS[7]
  next_key = 8
  local members, listed = {}, {}
  for i = 1, n_new do
    local child_id, fields, record = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local delay, cleanup = ARGV[at + 4], ARGV[at + 5]
    local child_run, child_journal, child_queue = KEYS[next_key], KEYS[next_key + 1], KEYS[next_key + 2]
    at, next_key = at + 5, next_key + 3
    -- Set if absent: a commit of an earlier life may have been lost by the worker, not by the server.
    if redis.call('EXISTS', child_run) == 0 then
      kids = kids + 1
      members[#members + 1], members[#members + 2] = kids, child_id
      listed[#listed + 1], listed[#listed + 2] = now, child_id
      fields = cmsgpack.unpack(fields)
      if cancel_at > 0 and cleanup ~= '1' then
        -- Created under a cancelled parent: born cancelled, unless cleanup asked for it.
        local n = #fields
        fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'finished', now
        fields[n + 5], fields[n + 6] = 'status', 'cancelled'
        redis.call('HSET', child_run, unpack(fields))
        local reason = 'parent ' .. id .. ' was cancelled'
        redis.call('RPUSH', child_journal, record, 'Z' .. now .. ' cancelled\n' .. reason)
        tell(TERMINAL.cancelled, child_id, reason)
      else
        create_run(now, child_run, child_journal, child_queue, timers_key, child_id, fields, record, tonumber(delay))
      end
    end
  end
  if #members > 0 then
    redis.call('ZADD', children_key, unpack(members))
    redis.call('ZADD', index_key, unpack(listed))
    put('kids', kids)
  end
end

-- A child that was started only, and is now awaited: from here on its end is told, or is told at once.
for i = 1, n_await do
  local child_run, child_journal = KEYS[next_key], KEYS[next_key + 1]
  local child_id = ARGV[at + 1]
  next_key, at = next_key + 2, at + 1
  local c = redis.call('HMGET', child_run, 'status', 'notify')
  if c[1] and c[2] ~= '1' then
    redis.call('HSET', child_run, 'notify', '1')
    if TERMINAL[c[1]] then
      local outcome = redis.call('LINDEX', child_journal, -1)
      tell(TERMINAL[c[1]], child_id, string.match(outcome, '^Z[^\n]*\n(.*)$') or '')
    end
  end
end
if told > 0 then
  put('mail', mail)
  if want == 'park' then want = 'go' end
end

for i = 1, n_walks do
  redis.call('HSET', walks_key, ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end

put('seq', seq)
if consumed > 0 then put('taken', taken) end
if #records > 0 then put('claims', 0) end
if f[16] == '1' then put('nudged', '') end

if want == 'go' then
  put('answer', STATUS.OK)
  redis.call('HSET', run_key, unpack(set))
  return { STATUS.OK, now, left, '' }
end

if want == 'park' or want == 'block' then
  local timer = f[10] or ''
  if want == 'park' and due_ms ~= '' then
    redis.call('ZADD', timers_key, due_ms, 'w' .. id)
    put('timer', due_ms)
  elseif timer ~= '' then
    redis.call('ZREM', timers_key, 'w' .. id)
    put('timer', '')
  end
  put('answer', STATUS.PARKED)
  put('status', want == 'park' and 'parked' or 'blocked')
  put('entry', '')
  redis.call('HSET', run_key, unpack(set))
  return { STATUS.PARKED, now, {}, '' }
end

local parent = nil
if has_parent == '1' then
  parent = {
    run_key = KEYS[next_key], inbox_key = KEYS[next_key + 1], worker_key = KEYS[next_key + 2],
    queue_key = KEYS[next_key + 3], id = ARGV[at + 1], owner = ARGV[at + 2],
  }
end
put('answer', STATUS.ENDED)
local run = {
  mail = mail, taken = taken, timer = f[10] or '', grace = f[11] or '', kids = kids, retention = f[13],
  notify = f[14],
}
finish_run(now, { run = run_key, journal = journal_key, inbox = inbox_key, timers = timers_key, walks = walks_key },
  id, run, want, payload, parent, set)
return { STATUS.ENDED, now, {}, f[15] or '' }
