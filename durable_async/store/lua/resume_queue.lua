-- Lets a paused queue go on.
-- Slots: the eight keys of the room, see lib/room.
-- Returns: {OK} | {DONE}: it was not paused.
-- Writes: gates; of a limited queue room, slots, starts, timers, queue.
-- Repeat-safe: the second call finds it going on.
-- Wakes: who is let in into a limited queue; the other entries are in its stream, which workers
--   read again when they see that they may.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local queue = ARGV[2]
--- @include "lib/now"
--- @include "lib/room"

local room = open_room(KEYS, #KEYS - 7, queue, '')
if redis.call('HDEL', gates_key, 'p' .. queue) == 0 then return { STATUS.DONE } end
if room then
  room.is_paused = false
  let_in(room, now_ms(given_now))
end
return { STATUS.OK }
