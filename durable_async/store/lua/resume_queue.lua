-- Lets a paused queue go on.
-- Slots: behind `meta` come the eight keys of the room, see lib/room.
-- Returns: {OK} | {DONE}: it was not paused | {STALE}: it was paused or let go since the caller looked.
-- Writes: gates, meta; of a limited queue room, slots, starts, timers, queue.
-- Repeat-safe: the same token gets the first answer; one that arrives after its own retry does not let go what was
--   paused again meanwhile.
-- Wakes: who is let in into a limited queue; the other entries are in its stream, which workers
--   read again when they see that they may.
local meta_key = KEYS[1]
local gates_key = KEYS[2]
local given_now = ARGV[1]
local queue = ARGV[2]
local last = ARGV[3]
local token = ARGV[4]
--- @include "lib/now"
--- @include "lib/room"

local latest = redis.call('HGET', meta_key, 'turn:' .. queue) or ''
local is_paused = redis.call('HEXISTS', gates_key, 'p' .. queue) == 1
local room = open_room(KEYS, #KEYS - 7, queue, '')
if latest == token then return { STATUS.OK } end
if latest ~= last then return { STATUS.STALE } end
if not is_paused then return { STATUS.DONE } end
redis.call('HDEL', gates_key, 'p' .. queue)
redis.call('HSET', meta_key, 'turn:' .. queue, token)
if room then
  room.is_paused = false
  let_in(room, now_ms(given_now))
end
return { STATUS.OK }
