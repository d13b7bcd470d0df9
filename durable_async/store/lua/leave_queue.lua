-- Takes a run out of the room of a limited queue if its record does not say that it is there: it was deleted by hand,
-- or writes were lost.
-- Slots: behind the run come the eight keys of the room, see lib/room.
-- Returns: {OK} | {DONE}: it is there by right, or is not there.
-- Writes: room, slots, tally, behind, starts, timers, queue, gates.
-- Repeat-safe: the second call finds it gone.
-- Wakes: whoever reads the queue.
local run_key = KEYS[1]
local given_now = ARGV[1]
local id = ARGV[2]
local key = ARGV[3]
local queue = ARGV[4]
--- @include "lib/now"
--- @include "lib/room"

local f = redis.pcall('HMGET', run_key, 'status', 'entry')
local room = open_room(KEYS, #KEYS - 7, queue, 'G')
local slot, named = find_slot(room, id), f[2] or ''
local is_alive = f[1] == 'ready' or f[1] == 'running'
-- It has parked or ended since the caller looked, and has given back what it had.
if not slot and not redis.call('ZSCORE', room.room_key, id .. '\n' .. key) then return { STATUS.DONE } end
if is_alive and (named == slot or string.sub(named, 1, 1) == 'G') then return { STATUS.DONE } end
leave_room(room, now_ms(given_now), id, key, '')
return { STATUS.OK }
