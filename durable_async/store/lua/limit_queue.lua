-- Sets what limits a queue: runs at once, starts per period and the period in ms, runs at once of a key; 0 is no limit.
-- Slots: the eight keys of the room, see lib/room.
-- Returns: {OK, the limits before, or ''} | {DONE}: they were the same.
-- Writes: gates, timers, room, slots, starts, queue.
-- Repeat-safe: the second call finds them set.
-- Wakes: whoever reads the queue.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local queue = ARGV[2]
local limits = ARGV[3]
--- @include "lib/now"
--- @include "lib/room"

local before = redis.call('HGET', gates_key, 'l' .. queue) or ''
if before == limits or (before == '' and limits == '0 0 0 0') then return { STATUS.DONE } end
open_room(KEYS, #KEYS - 7, queue, 'G')
redis.call('HSET', gates_key, 'l' .. queue, limits)
let_in(open_room(KEYS, #KEYS - 7, queue, 'G'), now_ms(given_now))
return { STATUS.OK, before }
