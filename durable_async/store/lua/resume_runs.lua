-- Takes up a batch of woken runs whose copies the caller still has in memory.
-- Slots: KEYS from 2 on are run and inbox of each run in turn; ARGV from 4 on are entry, epoch, nonce and
--   seq of each. `has_entered` is the id of the one run if it has entered its queue (see enter_queue), whose slots are
--   the last key then.
-- Returns: {now, one reply per run}: {OK, inbox page} | {RELOAD}: the copy is not the journal's, drop it
--   and claim | {STALE}: the entry is garbage | {GONE}
--   | {HELD, queue, p}: its queue is paused, the caller puts the entry back; {HELD, queue, l}: it is limited, and the
--   run has to enter it first
--   | {CORRUPT, error}: a key of this run has a wrong type; the others of the batch are not affected.
-- Writes: run.
-- Repeat-safe: a running run with the same entry and fence is answered again.
-- Wakes: nobody.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local page = ARGV[2]
local has_entered = ARGV[3]
--- @include "lib/now"
--- @include "lib/gates"
--- @include "lib/page"

local find_gate = read_gates(gates_key)
local now = now_ms(given_now)
local replies, writes = { now }, {}
for i = 1, (#ARGV - 3) / 4 do
  local run_key, inbox_key = KEYS[2 * i], KEYS[2 * i + 1]
  local at = 4 * i
  local entry, epoch, nonce, seq = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local f = redis.pcall('HMGET', run_key, 'status', 'entry', 'epoch', 'nonce', 'seq', 'mail', 'taken')
  local is_waiting = f[1] == 'ready' and string.sub(f[2] or '', 1, 1) == 'G'
  local is_running = f[1] == 'running'
  local is_asked = is_waiting or (find_gate and (f[1] == 'ready' or is_running))
  local queue = is_asked and redis.call('HGET', run_key, 'queue')
  local gate, is_limited = false, false
  if queue and find_gate then gate, is_limited = find_gate(queue) end
  -- One that is running is not held up, but its slot has to be known to whoever gives it back.
  if is_running then gate = is_limited and has_entered == '' and 'l' end
  -- Who has entered shows its slot: the server may have lost it since, with the last writes.
  local slot = gate == 'l' and has_entered ~= '' and redis.pcall('HGET', KEYS[#KEYS], has_entered)
  local has_slot = slot and not slot.err and string.match(slot, '^[^\n]*') == entry
  local reply
  if f.err then
    reply = { STATUS.CORRUPT, f.err }
  elseif not f[1] then
    reply = { STATUS.GONE }
  elseif is_waiting and f[2] ~= entry then
    -- It waits in its queue's room, or was let in: that is for who has the keys of the room to say.
    reply = { STATUS.HELD, queue or '', 'l' }
  elseif f[2] ~= entry or (f[1] ~= 'ready' and f[1] ~= 'running') then
    reply = { STATUS.STALE }
  elseif f[3] ~= epoch or f[4] ~= nonce or (f[5] or '0') ~= seq then
    -- Somebody else owned it meanwhile, or the server lost its last writes. The entry counts all the same: it must
    -- be claimed, not acked.
    reply = { STATUS.RELOAD }
  elseif gate == 'p' or (gate == 'l' and not has_slot) then
    reply = { STATUS.HELD, queue, gate }
  else
    local inbox = {}
    if (tonumber(f[6]) or 0) > (tonumber(f[7]) or 0) then
      inbox = read_page(inbox_key, 0, tonumber(page))
    end
    if inbox.err then
      reply = { STATUS.CORRUPT, inbox.err }
    else
      reply = { STATUS.OK, inbox }
      if f[1] == 'ready' then writes[#writes + 1] = run_key end
    end
  end
  replies[i + 1] = reply
end
for _, run_key in ipairs(writes) do redis.call('HSET', run_key, 'status', 'running', 'nudged', '') end
return replies
