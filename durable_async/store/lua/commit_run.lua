-- Appends what the owner's run has seen and done, applies its effects, and goes on, parks, blocks, renews or ends it.
-- Slots: after the fixed keys come, if it asks or closes questions, `inputs` and `questions`; if children are
--   created, `children`, `index`, if they share inputs `shared` and of each run above run, children, `shared`, and
--   run, journal, queue of each; then run and journal of each awaited child; then, if the run has a parent and ends,
--   the parent's run, inbox, worker stream and queue; or its own queue, if it is renewed; or `blocked`, if it blocks;
--   last, if it has a slot of a limited queue, the eight keys of the room (lib/room). ARGV from 13 on: the list
--   (letter and value in turn; `N` a line of the new life's journal), the questions (see lib/questions), the shared
--   inputs (digest and input, empty if it is known to be stored), the children (id, fields, record, times, and
--   letters: `c` asked for by cleanup, `k` keeps what has completed, `v` has a priority, and `gates` behind its
--   keys), the awaited child ids, the walks (item and value in turn), with a parent its id and the worker whose
--   stream was declared, and with a room its queue.
-- Returns: {OK | PARKED | RENEWED | ENDED, now, unseen messages, waiting clients, worker to nudge} | {FENCED, now}
--   | {RETRY, now}: a shared input that was not sent is not stored; the same commit is sent again with it.
--   The worker to nudge runs the parent though another one's stream was declared; mostly it is empty.
-- Writes: run, journal, inbox, timers, walks, blocked, gates, the room, inputs, questions, children, index, queues;
--   the parent's run, inbox, streams.
-- Repeat-safe: seq = last gets the stored answer, with the messages that the owner has not seen.
-- Wakes: new children's queues; the parent; of a renewed run its queue.
--- @batch
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
--- @include "lib/now_text"
--- @include "lib/check"
--- @include "lib/finish"

-- Mostly there is the list and nothing else.
local n_list, n_new, n_await, n_walks, n_asked, has_parent = (#ARGV - 12) / 2, 0, 0, 0, 0, '0'
if counts ~= '' then
  n_list, n_new, n_await, n_walks, n_asked, has_parent = string.match(counts, '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')
  n_list, n_new, n_await, n_walks = tonumber(n_list), tonumber(n_new), tonumber(n_await), tonumber(n_walks)
  n_asked = tonumber(n_asked)
end
local leaves = want == 'park' or want == 'renew'
local ending = want ~= 'go' and want ~= 'block' and not leaves

-- A field that is read costs as much as a call of a function that does nothing: only those that this want has use for.
local f
if has_parent == '1' then
  f = redis.call('HMGET', run_key, 'status', 'epoch', 'nonce', 'seq', 'entry', 'mail', 'taken', 'cancel_at', 'client',
    'nudged', 'timer', 'retention', 'grace', 'deadline', 'kids', 'notify', 'pgen')
elseif ending or want == 'renew' then
  f = redis.call('HMGET', run_key, 'status', 'epoch', 'nonce', 'seq', 'entry', 'mail', 'taken', 'cancel_at', 'client',
    'nudged', 'timer', 'retention', 'grace', 'deadline', 'kids')
else
  f = redis.call('HMGET', run_key, 'status', 'epoch', 'nonce', 'seq', 'entry', 'mail', 'taken', 'cancel_at', 'client',
    'nudged', 'timer')
end
local mail, taken = tonumber(f[6]) or 0, math.max(tonumber(f[7]) or 0, 0)
local clients = f[9] or ''
local now, time = now_ms(given_now), now_text(given_now)

-- What waits in the inbox is answered from the first message on that the owner has not been told: what it has been told
-- is in its memory, or gone with it, and then a claim begins anew. Made here and not above: most commits find none.
local read_unseen = nil
if mail > taken then
--- @include "lib/page"
  read_unseen = function(told, at_least)
    local count, seen = string.match(page, '(%d+) (%d+)')
    return read_page(inbox_key, math.max(at_least, tonumber(seen) - told), tonumber(count))
  end
end

-- A stale owner (reaped, released, or of a time the server has lost) changes nothing.
if not f[1] or f[2] ~= epoch or f[3] ~= nonce then return { STATUS.FENCED, now } end
if f[4] == seq then
  -- The reply to this very commit was lost: the stored answer, never a second look at park or end.
  local rest, answer = {}, redis.call('HGET', run_key, 'answer')
  if answer == tostring(STATUS.OK) and read_unseen then rest = read_unseen(taken, 0) end
  if rest.err then return rest end
  return { tonumber(answer), now, rest, clients, '' }
end
-- A request that arrives after its own retry, a copy that is not the journal's, or a run that somebody else has ended.
local is_next = f[4] and tonumber(f[4]) + 1 == tonumber(seq) or (not f[4] and seq == '1')
if not is_next or f[1] ~= 'running' or f[5] ~= entry then
  return { STATUS.FENCED, now }
end

-- The list is what the body saw, in its order. Takes and drops name their message by number and time, so that
-- a message which took another's number after a loss of writes is not mistaken for it.
local at, n_messages = 12 + 2 * n_list, 0
for i = 13, at, 2 do
  if ARGV[i] == 'T' or ARGV[i] == 'D' then n_messages = n_messages + 1 end
end
-- Tables cost more than what most commits put into them: only where something is.
local NONE = {}
local inbox, lines, fresh, consumed = NONE, {}, NONE, 0
if mail > taken and n_messages > 0 then inbox = redis.call('LRANGE', inbox_key, 0, n_messages - 1) end
-- Counted and not there: the list was deleted by hand. Waiting for what will not come, it would neither park nor end.
local is_lost = mail > taken and #inbox == 0 and redis.call('LLEN', inbox_key) == 0
if is_lost then taken = mail end
for i = 13, at, 2 do
  local value = ARGV[i + 1]
  if ARGV[i] == 'R' then
    lines[#lines + 1] = value
  elseif ARGV[i] == 'N' then
    if fresh == NONE then fresh = {} end
    fresh[#fresh + 1] = value
  else
    consumed = consumed + 1
    local message = inbox[consumed]
    if not message or string.sub(message, 1, #value) ~= value then return { STATUS.FENCED, now } end
    if ARGV[i] == 'T' then lines[#lines + 1] = message end
  end
end
local left, is_cut = NONE, false
if mail > taken + consumed then
  left, is_cut = read_unseen(taken, consumed)
  if left.err then return left end
end
taken = taken + consumed

-- Everything that follows from it is decided before anything is written: what becomes of the children, and what this
-- script itself has to say to the run.
local ANSWER = 4
local set = { 'seq', seq, 'answer', '' }
if set_packed ~= '' then
  for i, value in ipairs(cmsgpack.unpack(set_packed)) do set[ANSWER + i] = value end
end
local function put(name, value)
  local n = #set
  set[n + 1], set[n + 2] = name, value
end
if consumed > 0 or is_lost then put('taken', taken) end
if f[10] == '1' then put('nudged', '') end

local cancel_at, kids, next_key = tonumber(f[8]) or 0, tonumber(f[15]) or 0, 6
local asked, family, tells = nil, nil, nil
if n_asked > 0 then
--- @include "lib/questions"
  asked = { id = id, run_key = run_key, inputs_key = KEYS[6], questions_key = KEYS[7], write = write_questions }
  next_key = 8
  at = read_questions(asked, n_asked, at, ARGV)
  put('inputs', cmsgpack.pack(asked.names))
  tells = asked.tells
end
if n_new > 0 or n_await > 0 then
  -- Included here and not above: most commits have no use for these functions, and making them costs a microsecond.
--- @include "lib/family"
  local g = redis.call('HMGET', run_key, 'owner', 'gen', 'kids')
  kids = tonumber(g[3]) or 0
  family = {
    id = id, now = now, owner = g[1] or '', gen = g[2] or '1', kids = kids, timers_key = timers_key,
    walks_key = walks_key, is_cancelled = cancel_at > 0,
    n_shared = tonumber(string.match(counts, 's(%d+)') or 0),
    n_above = tonumber(string.match(counts, 'u(%d+)') or 0),
  }
  next_key, at = read_family(family, n_new, n_await, next_key, at, KEYS, ARGV)
  if family.is_short then return { STATUS.RETRY, now } end
  family.write = write_family
  tells = tells or {}
  for _, told in ipairs(family.tells) do
    tells[#tells + 1] = told[1] and 'C' .. TERMINAL[told[1]] .. told[2] .. '\n' .. told[3] or 'O' .. told[2]
  end
  if family.n_listed > 0 then
    kids = kids + family.n_listed
    put('kids', kids)
  end
end
local n_tells = tells and #tells or 0
local walks = NONE
if n_walks > 0 then
  redis.call('HLEN', walks_key)
  walks = { unpack(ARGV, at + 1, at + 2 * n_walks) }
  at = at + 2 * n_walks
end

-- A run that would park with a message waiting, or end with a cancel waiting, does not: no wake-up is lost and
-- a promised cancel is kept. One that would begin anew takes all its messages with it; one that has asked for a child
-- whose id is still occupied sees to it first.
local stays = cancel_at > taken or (family and family.has_to_wait)
if (leaves and (mail > taken or n_tells > 0)) or (ending and stays) then
  if want == 'renew' then
    -- It has the life that it had: as another one it would not be told what its children of this one do.
    local kept = {}
    for i = 1, #set, 2 do
      if set[i] ~= 'gen' and set[i] ~= 'attempt' then kept[#kept + 1], kept[#kept + 2] = set[i], set[i + 1] end
    end
    set = kept
  end
  want, ending = 'go', false
end
local keys = { run = run_key, journal = journal_key, inbox = inbox_key, timers = timers_key, walks = walks_key }
local timer, answer, plan, workflow = f[11] or '', STATUS.OK, nil, nil
if ending then
  local parent = nil
  if has_parent == '1' then
    parent = {
      run_key = KEYS[next_key], inbox_key = KEYS[next_key + 1], worker_key = KEYS[next_key + 2],
      queue_key = KEYS[next_key + 3], id = ARGV[at + 1], owner = ARGV[at + 2],
    }
  end
  answer = STATUS.ENDED
  -- What this very commit takes is still in the inbox: an end deletes it whole.
  plan = plan_end(keys, {
    mail = mail, taken = taken - consumed, timer = timer, retention = f[12], grace = f[13] or '',
    deadline = f[14] or '', kids = kids, notify = f[16], pgen = f[17],
  }, parent)
elseif want == 'renew' then
--- @include "lib/renew"
  answer = STATUS.RENEWED
  plan = plan_renewal(keys, KEYS[next_key], due_ms, f[14] or '')
  plan.write = renew_run
else
  if n_tells > 0 then
    redis.call('LLEN', inbox_key)
    put('mail', mail + n_tells)
  end
  if want == 'park' or want == 'block' then
    answer = STATUS.PARKED
    put('status', want == 'park' and 'parked' or 'blocked')
    put('entry', '')
    if due_ms ~= '' or timer ~= '' then
      check_zset(timers_key)
      put('timer', want == 'park' and due_ms or '')
    end
    if want == 'block' then
      redis.call('HLEN', KEYS[next_key])
      workflow = redis.call('HGET', run_key, 'workflow') or ''
    end
  end
end
set[ANSWER] = tostring(answer)
-- What was recorded or taken will not kill the next owner, and neither did what led to a park: the count of owners that
-- died begins anew. A commit of nothing proves nothing: the step after it may be the deadly one.
if not ending and (#lines > 0 or consumed > 0 or answer == STATUS.PARKED) then put('claims', 0) end

local room, slot_key = nil, ''
if answer ~= STATUS.OK and string.sub(counts, -1) == 'g' then
--- @include "lib/room"
  room = open_room(KEYS, #KEYS - 7, ARGV[#ARGV], 'G')
  room.leave, slot_key = leave_room, redis.call('HGET', run_key, 'key') or ''
end

-- From here on only writes. The first is to the journal, the one key that was not read.
if ending then
  finish_run(time, keys, id, plan, want, payload, lines, set)
elseif want == 'renew' then
  plan.write(now, keys, id, plan, payload, fresh, set)
else
  append_lines(journal_key, lines)
  if consumed > 0 then redis.call('LTRIM', inbox_key, consumed, -1) end
  redis.call('HSET', run_key, unpack(set))
end
if want == 'park' and due_ms ~= '' then
  redis.call('ZADD', timers_key, due_ms, 'w' .. id)
elseif answer == STATUS.PARKED and timer ~= '' then
  redis.call('ZREM', timers_key, 'w' .. id)
end
-- Nothing wakes a blocked run but a cancel, or who looks into this list.
if workflow then redis.call('HSET', KEYS[next_key], id, workflow) end
if family then family.write(family) end
if asked then asked.write(asked) end
if n_walks > 0 then redis.call('HSET', walks_key, unpack(walks)) end

if room then room.leave(room, now, id, slot_key, '') end

if answer == STATUS.OK then
  -- It goes the way of every other message, and behind them: with a gap before it, the owner would take the wrong one.
  for i = 1, n_tells do
    local message = 'M' .. mail + i .. ' ' .. now .. ' ' .. tells[i]
    redis.call('RPUSH', inbox_key, message)
    if not is_cut then
      if left == NONE then left = {} end
      left[#left + 1] = message
    end
  end
else
  left = NONE
end
return { answer, now, left, clients, plan and plan.elsewhere or '' }
