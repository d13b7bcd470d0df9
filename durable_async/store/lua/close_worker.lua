-- Removes the empty stream and the entry of a worker that left or died.
-- Returns: {OK} | {RETRY}: the stream is not empty, or the worker has moved since it was judged.
-- Writes: worker stream, workers, beats.
-- Repeat-safe: what is gone stays gone.
-- Wakes: nobody; whoever finds the stream missing uses the queue.
local stream_key = KEYS[1]
local workers_key = KEYS[2]
local beats_key = KEYS[3]
local worker = ARGV[1]
local beat = ARGV[2]

-- A wake-up may have come since the caller looked; and it is dead only if its counter still stands where it stood.
local moved = redis.call('HGET', beats_key, worker) or ''
if redis.call('XLEN', stream_key) > 0 or (beat ~= '' and moved ~= beat) then return { STATUS.RETRY } end
redis.call('HDEL', workers_key, worker)
redis.call('HDEL', beats_key, worker)
redis.call('DEL', stream_key)
return { STATUS.OK }
