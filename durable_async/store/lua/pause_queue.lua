-- Pauses a queue: from here on none of its runs is claimed or resumed, by whichever worker.
-- Returns: {OK} | {DONE}: it was paused before.
-- Writes: gates.
-- Repeat-safe: the second call finds it paused.
-- Wakes: nobody; workers stop reading the queue when they see it or are refused one of its runs.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local queue = ARGV[2]
--- @include "lib/now"

if redis.call('HSETNX', gates_key, 'p' .. queue, now_ms(given_now)) == 0 then return { STATUS.DONE } end
return { STATUS.OK }
