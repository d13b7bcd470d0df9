-- Pauses a queue: from here on none of its runs is claimed or resumed, by whichever worker.
-- Returns: {OK} | {DONE}: it was paused before | {STALE}: it was paused or let go since the caller looked.
-- Writes: gates, meta.
-- Repeat-safe: the same token gets the first answer. One that arrives after its own retry finds that another change has
--   followed, if one has: else a queue that was let go meanwhile would stay paused, and nobody would know why.
-- Wakes: nobody; workers stop reading the queue when they see it or are refused one of its runs.
local gates_key = KEYS[1]
local meta_key = KEYS[2]
local given_now = ARGV[1]
local queue = ARGV[2]
local last = ARGV[3]
local token = ARGV[4]
--- @include "lib/now"

local latest = redis.call('HGET', meta_key, 'turn:' .. queue) or ''
local is_paused = redis.call('HEXISTS', gates_key, 'p' .. queue) == 1
if latest == token then return { STATUS.OK } end
if latest ~= last then return { STATUS.STALE } end
if is_paused then return { STATUS.DONE } end
redis.call('HSET', gates_key, 'p' .. queue, now_ms(given_now))
redis.call('HSET', meta_key, 'turn:' .. queue, token)
return { STATUS.OK }
