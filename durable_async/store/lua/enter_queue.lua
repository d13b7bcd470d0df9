-- Gives a run of a limited queue a slot, under the entry through which a worker is about to take it; or lets it wait in
-- the room, without an entry.
-- Slots: behind the source stream come the eight keys of the room, see lib/room.
-- Returns: {OK}: it may be claimed or resumed | {STALE}: this entry is garbage; the run waits in the room, or another
--   entry counts | {HELD}: the queue is paused; the caller puts the entry back | {GONE}
-- Writes: run, source stream, room, behind, slots, tally, starts, timers.
-- Repeat-safe: who has a slot under this entry keeps it; who was sent into the room is there.
-- Wakes: nobody.
local run_key = KEYS[1]
local source_key = KEYS[2]
local given_now = ARGV[1]
local id = ARGV[2]
local entry = ARGV[3]
local queue = ARGV[4]
--- @include "lib/now"
--- @include "lib/room"

local f = redis.call('HMGET', run_key, 'status', 'entry', 'epoch', 'queue', 'created', 'key')
if not f[1] then return { STATUS.GONE } end
local named, key = f[2] or '', f[6] or ''
local room = open_room(KEYS, #KEYS - 7, queue, named)
if f[1] ~= 'ready' and f[1] ~= 'running' then return { STATUS.STALE } end
local slot = room and find_slot(room, id)
if named ~= entry then
  -- It waits in the room, or was let in under another entry.
  if not room or slot ~= entry then return { STATUS.STALE } end
  if room.is_paused then return { STATUS.HELD } end
  redis.call('HSET', run_key, 'entry', entry, 'waiting', '')
  return { STATUS.OK }
end
-- A running one is being worked on, by whoever asks again; what is not limited needs no slot.
if f[1] == 'running' or not room or not room.is_limited then return { STATUS.OK } end
if room.is_paused then return { STATUS.HELD } end
if slot then
  put_slot(room, id, key, entry)
  return { STATUS.OK }
end

local now = now_ms(given_now)
local is_fresh = (tonumber(f[3]) or 0) == 0
local score = score_of(is_fresh, f[4], f[5])
local count = key ~= '' and read_tally(room, key) or 0
local is_behind = key ~= '' and room.per_key > 0 and count >= room.per_key
local head = redis.call('ZRANGE', room.room_key, 0, 0, 'WITHSCORES')
local due = is_fresh and find_next_start(room) or 0
redis.call('XLEN', source_key)
if not is_behind and key ~= '' then put_tally(room, key, count + 1) end
if not is_behind and has_slot_free(room) and due <= now and (not head[1] or tonumber(score) < tonumber(head[2])) then
  put_slot(room, id, key, entry)
  if is_fresh then note_start(room, now) end
  return { STATUS.OK }
end
drop_entry(entry, source_key)
redis.call('HSET', run_key, 'entry', 'G' .. now .. '-' .. score, 'waiting', 'a place in queue ' .. queue)
if is_behind then
  redis.call('ZADD', room.behind_key, 0, key .. '\0' .. score .. id)
else
  redis.call('ZADD', room.room_key, score, id .. '\n' .. key)
  -- There may be room, for whoever is first or once it is time.
  let_in(room, now)
end
return { STATUS.STALE }
