-- Starts a run whose journal has been written before: what another run has seen, up to where the two part.
-- Returns: {OK, now} | {EXISTS} | {GONE}: the journal is not there whole; it is written again.
-- Writes: run, journal, queue, timers, index.
-- Repeat-safe: the second call finds its own run by the token.
-- Wakes: whoever reads the queue.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local queue_key = KEYS[3]
local timers_key = KEYS[4]
local index_key = KEYS[5]
local given_now = ARGV[1]
local id = ARGV[2]
local fields_packed = ARGV[3]
local token = ARGV[4]
local n_lines = ARGV[5]
local timeout_ms = ARGV[6]
--- @include "lib/now"
--- @include "lib/entry"

local old = redis.call('HMGET', run_key, 'status', 'token')
local now = now_ms(given_now)
-- The reply to this very call was lost.
if old[1] then return { old[2] == token and STATUS.OK or STATUS.EXISTS, now } end
if redis.call('LLEN', journal_key) ~= tonumber(n_lines) then return { STATUS.GONE } end
local fields, timeout = cmsgpack.unpack(fields_packed), tonumber(timeout_ms) or 0
redis.call('ZCARD', index_key)
redis.call('ZCARD', timers_key)
local n = #fields
fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'status', 'ready'
-- The queue, which was not read, is what is written first.
fields[n + 5], fields[n + 6] = 'entry', add_entry(id, 'Q', queue_key)
if timeout > 0 then
  fields[n + 7], fields[n + 8] = 'deadline', now + timeout
  redis.call('ZADD', timers_key, now + timeout, 'r' .. id)
end
redis.call('HSET', run_key, unpack(fields))
redis.call('PERSIST', journal_key)
redis.call('ZADD', index_key, now, id)
return { STATUS.OK, now }
