-- Takes a batch of runs, each through the entry its record names.
-- Slots: KEYS from 2 on are run, journal and inbox of each run in turn; ARGV from 7 on are id and entry of each.
--   `has_entered` is 1 if all of them have entered their queue (see enter_queue), whose slots are the last key then.
-- Returns: {now, one reply per run}: {OK, epoch, fields, journal page, journal length, inbox page}; the fields are
--   packed, from `started` on, and those of a child only for a child
--   | {STALE}: the entry is garbage | {GONE}: no such run | {POISON, …} as OK: the caller settles it
--   | {HELD, queue, p}: its queue is paused, the caller puts the entry back; {HELD, queue, l}: it is limited, and the
--   run has to enter it first
--   | {CORRUPT, error}: a key of this run has a wrong type, or its epoch cannot be counted on; the others of the batch
--   are not affected.
-- Writes: run.
-- Repeat-safe: same nonce and entry get the same answer and count nothing.
-- Wakes: nobody.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local owner = ARGV[2]
local nonce = ARGV[3]
local crash_limit = ARGV[4]
local page = ARGV[5]
local has_entered = ARGV[6]
--- @include "lib/now_text"
--- @include "lib/gates"
--- @include "lib/page"

-- What nobody but a child has comes last: most runs are none.
local OF_ROOT = {
  'status', 'entry', 'epoch', 'nonce', 'owner', 'claims', 'mail', 'taken', 'started', 'workflow', 'queue', 'attempt',
  'created', 'version', 'retention', 'gen', 'deadline',
}
local OF_CHILD = { unpack(OF_ROOT) }
for _, name in ipairs({ 'parent', 'ref', 'hint', 'pqueue', 'depth' }) do OF_CHILD[#OF_CHILD + 1] = name end

local find_gate = read_gates(gates_key)
local now, time = now_ms(given_now), now_text(given_now)
local replies, writes = { now }, {}
local limit, count = tonumber(crash_limit), tonumber(page)
-- Lua writes larger numbers with an exponent.
local MAX_EPOCH = 1e14

-- Who has entered shows its slot: the server may have lost it since, with the last writes.
local function is_shut(gate, id, entry)
  local slot = gate == 'l' and has_entered == '1' and redis.pcall('HGET', KEYS[#KEYS], id)
  return gate == 'p' or (gate == 'l' and not (slot and not slot.err and string.match(slot, '^[^\n]*') == entry))
end

-- The pages of a run that is claimed or poisoned; an error if one of its keys is damaged.
local function read_pages(answer, epoch, f, n_fields, journal_key, inbox_key)
  local journal, is_cut = read_page(journal_key, 0, count)
  if journal.err then return { STATUS.CORRUPT, journal.err } end
  local length = #journal
  if is_cut then length = redis.call('LLEN', journal_key) end
  local inbox = {}
  if (tonumber(f[7]) or 0) > (tonumber(f[8]) or 0) then
    inbox = read_page(inbox_key, 0, count)
    if inbox.err then return { STATUS.CORRUPT, inbox.err } end
  end
  -- Packed, because each value of an answer costs more than all of them in one.
  return { answer, epoch, cmsgpack.pack({ unpack(f, 9, n_fields) }), journal, length, inbox }
end

for i = 1, (#ARGV - 6) / 2 do
  local run_key, journal_key, inbox_key = KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1]
  local entry = ARGV[6 + 2 * i]
  local names = string.find(ARGV[5 + 2 * i], '/', 1, true) and OF_CHILD or OF_ROOT
  local f = redis.pcall('HMGET', run_key, unpack(names))
  local status = f[1]
  local reply
  if f.err then
    reply = { STATUS.CORRUPT, f.err }
  elseif not status then
    reply = { STATUS.GONE }
  elseif status == 'ready' and f[2] ~= entry and string.sub(f[2] or '', 1, 1) == 'G' then
    -- It waits in its queue's room, or was let in: that is for who has the keys of the room to say.
    reply = { STATUS.HELD, f[11] or '', 'l' }
  elseif f[2] ~= entry or (status ~= 'ready' and status ~= 'running') then
    -- Read late, put back, or settled since: another entry counts now.
    reply = { STATUS.STALE }
  elseif find_gate and status == 'ready' and is_shut(find_gate(f[11]), ARGV[5 + 2 * i], entry) then
    reply = { STATUS.HELD, f[11], (find_gate(f[11])) }
  elseif find_gate and status == 'running' and has_entered ~= '1' and select(2, find_gate(f[11])) then
    -- A running one is being worked on, by whoever asks again. It does not wait, but has to ask as who has entered:
    -- else nobody would know of its slot, and give it back.
    reply = { STATUS.HELD, f[11], 'l' }
  else
    local epoch, claims = tonumber(f[3]) or 0, tonumber(f[6]) or 0
    if f[5] ~= owner then claims = claims + 1 end
    if epoch ~= math.floor(epoch) or epoch < 0 or epoch >= MAX_EPOCH then
      -- Counted up it would be written as another number than the owner is told.
      reply = { STATUS.CORRUPT, 'its epoch is no number of ours' }
    elseif status == 'running' and f[4] == nonce and f[5] == owner then
      -- The reply to this very claim was lost.
      reply = read_pages(STATUS.OK, epoch, f, #names, journal_key, inbox_key)
    elseif status == 'ready' and claims > limit then
      -- Each of the last owners died before it recorded anything. Ending a run needs
      -- its parent's keys, so the worker settles it.
      reply = read_pages(STATUS.POISON, epoch, f, #names, journal_key, inbox_key)
    else
      -- Also a running one: whoever reads the entry that counts holds it; the owner that claimed it before has
      -- forgotten it (a reply that nobody remembers) or is of a time the server has lost. It is fenced by this.
      -- The answer is the record as it is from now on, and the same if it is asked for again.
      f[9] = f[9] or time
      reply = read_pages(STATUS.OK, epoch + 1, f, #names, journal_key, inbox_key)
      if reply[1] == STATUS.OK then
        writes[#writes + 1] = {
          run_key, 'status', 'running', 'owner', owner, 'epoch', f[3] and tostring(epoch + 1) or '1', 'nonce', nonce,
          'claims', tostring(claims), 'started', f[9],
        }
        -- What nobody has claimed before has neither.
        if f[3] then
          local w = writes[#writes]
          w[14], w[15], w[16], w[17] = 'seq', '0', 'nudged', ''
        end
      end
    end
  end
  replies[i + 1] = reply
end
-- Only now: a bad call among the reads of one run must not leave another one half claimed.
for _, write in ipairs(writes) do redis.call('HSET', unpack(write)) end
return replies
