-- Puts an entry back so that any worker may take its run: a drain, a wake-up that found no slot, an unknown
-- workflow (with a delay), or the reaper's finding in the hands of a dead worker. Garbage is acked.
-- Slots: behind the fixed keys come the eight keys of the room of its queue, see lib/room.
-- Returns: {OK} | {STALE}: the record names another entry, and this one is gone now; or the caller was fenced.
-- Writes: run, source stream, queue or timers; slots, room.
-- Repeat-safe: the second call finds another entry in the record.
-- Wakes: whoever reads the queue.
local run_key = KEYS[1]
local source_key = KEYS[2]
local queue_key = KEYS[3]
local timers_key = KEYS[4]
local given_now = ARGV[1]
local id = ARGV[2]
local entry = ARGV[3]
local epoch = ARGV[4]
local delay_ms = ARGV[5]
local waiting = ARGV[6]
local keep_claim = ARGV[7]
local queue = ARGV[8]
--- @include "lib/now"
--- @include "lib/room"

-- What is no record has no entry that counts.
local f = redis.pcall('HMGET', run_key, 'status', 'entry', 'epoch', 'claims', 'key')
local room = open_room(KEYS, #KEYS - 7, queue, f[2])
local slot = room and find_slot(room, id)
if room and slot == entry and f[1] == 'ready' and f[2] ~= entry and string.sub(f[2] or '', 1, 1) == 'G' then
  -- Let in, and not taken up: it stays so, under another entry.
  redis.call('XLEN', source_key)
  put_slot(room, id, f[5] or '', add_entry(id, 'Q', room.stream_key))
  drop_entry(entry, source_key)
  return { STATUS.OK }
end
-- Settled, or put back by somebody else: garbage, whoever holds it. So is one that a run has which nobody may take: a
-- claim would say the same, and who empties a dead worker's stream would find it for ever.
local is_takeable = f[1] == 'ready' or f[1] == 'running'
if f[2] ~= entry or (epoch == '' and not is_takeable) then
  drop_entry(entry, source_key)
  return { STATUS.STALE }
end
-- An owner that was fenced puts nothing back: the entry is another one's.
if (epoch ~= '' and f[3] ~= epoch) or not is_takeable then return { STATUS.STALE } end

local set = { 'waiting', waiting }
local function put(name, value)
  set[#set + 1] = name
  set[#set + 1] = value
end
if f[1] == 'running' then
  -- The old owner is fenced at once, alive or not. A hand-back is no crash: its claim is not counted.
  put('epoch', (tonumber(f[3]) or 0) + 1)
  if keep_claim ~= '1' then
    put('claims', math.max((tonumber(f[4]) or 0) - 1, 0))
    -- A claim by whoever was the owner is not counted: one that hands it back again would take off another's crash.
    put('owner', '')
  end
end
local delay = tonumber(delay_ms)
if delay > 0 then
  redis.call('ZCARD', timers_key)
  local due = now_ms(given_now) + delay
  drop_entry(entry, source_key)
  redis.call('ZADD', timers_key, due, 'd' .. id)
  put('status', 'delayed')
  put('timer', due)
  put('entry', '')
  if slot then leave_room(room, now_ms(given_now), id, f[5] or '', '') end
else
  redis.call('XLEN', queue_key)
  drop_entry(entry, source_key)
  put('status', 'ready')
  -- Its slot stays its own: who reads the new entry goes on where this one stopped.
  local again = add_entry(id, 'Q', queue_key)
  put('entry', again)
  if slot then put_slot(room, id, f[5] or '', again) end
end
redis.call('HSET', run_key, unpack(set))
return { STATUS.OK }
