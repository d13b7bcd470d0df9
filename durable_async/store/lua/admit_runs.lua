-- Lets in runs that wait in the room of a limited queue: time has passed.
-- Slots: the eight keys of the room, see lib/room.
-- Returns: {OK}
-- Writes: timers, room, slots, starts, queue, gates.
-- Repeat-safe: the second call finds the room as the first one left it.
-- Wakes: whoever reads the queue.
local given_now = ARGV[1]
local queue = ARGV[2]
--- @include "lib/now"
--- @include "lib/room"

local room = open_room(KEYS, #KEYS - 7, queue, 'G')
redis.call('ZREM', KEYS[2], 'q' .. queue)
let_in(room, now_ms(given_now))
return { STATUS.OK }
