-- Takes a failed run up again: its failure is void, its journal goes on behind it. What of it still counts is found out
-- by whoever claims it.
-- Slots: behind the fixed keys `shared` of its parent and of each run above that; of a root its own once more.
-- Returns: {OK, now} | {DONE, status}: it has not failed | {GONE} | {RETRY}: its queue is another one.
-- Writes: run, journal, children, shared, timers, walks, queue.
-- Repeat-safe: the same token gets the first answer.
-- Wakes: whoever reads the queue. Its parent has been told of the failure and is not told again.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local children_key = KEYS[3]
local timers_key = KEYS[4]
local walks_key = KEYS[5]
local queue_key = KEYS[6]
local shared_key = KEYS[7]
local given_now = ARGV[1]
local id = ARGV[2]
local token = ARGV[3]
local timeout_ms = ARGV[4]
local queue = ARGV[5]
--- @include "lib/now"
--- @include "lib/entry"
--- @include "lib/shared"

local f = redis.call('HMGET', run_key, 'status', 'retried_by', 'gen', 'mail', 'kids', 'queue', 'deadline')
if not f[1] then return { STATUS.GONE } end
local now = now_ms(given_now)
-- The reply to this very call was lost.
if f[2] == token then return { STATUS.OK, now } end
if f[1] ~= 'failed' then return { STATUS.DONE, f[1] } end
if f[6] ~= queue then return { STATUS.RETRY } end
local timeout, kids = tonumber(timeout_ms) or 0, tonumber(f[5]) or 0
redis.call('HLEN', walks_key)
redis.call('ZCARD', timers_key)
redis.call('XLEN', queue_key)
-- What it shares with others goes with those above it, which may have ended. For the runs below it, it is the holder.
redis.call('HLEN', shared_key)
local find_input = open_shared(KEYS, 8, #KEYS)
local copy, marked = read_shared(journal_key, find_input), read_marked(shared_key, find_input)

-- The first write, to the one key not read whole.
redis.call('RPUSH', journal_key, 'V' .. now)
if copy then redis.call('LSET', journal_key, 0, copy) end
for i = 1, #marked, 2 do redis.call('HSET', shared_key, marked[i], marked[i + 1]) end
-- The tree is kept again: what has got a time to live already loses it by a walk of its own.
redis.call('PERSIST', run_key)
redis.call('PERSIST', journal_key)
redis.call('PERSIST', children_key)
redis.call('PERSIST', shared_key)
redis.call('HDEL', walks_key, 'e' .. id, 'x' .. id, 'o' .. id)
if kids > 0 then redis.call('HSET', walks_key, 'p' .. id, 0) end
redis.call('HDEL', run_key, 'finished', 'cancel', 'cancel_at', 'cancel_kids', 'cancel_token', 'ended_by', 'grace',
  'deadline', 'notify', 'saga', 'waiting')
-- Without a nonce: a worker that did not end it itself may still have it in memory, as it was before it failed.
local set = {
  'status', 'ready', 'nonce', '', 'gen', (tonumber(f[3]) or 1) + 1, 'claims', 0, 'taken', tonumber(f[4]) or 0,
  'retried_by', token, 'entry', add_entry(id, 'Q', queue_key),
}
if timeout > 0 then
  set[#set + 1], set[#set + 2] = 'deadline', now + timeout
  redis.call('ZADD', timers_key, now + timeout, 'r' .. id)
end
redis.call('HSET', run_key, unpack(set))
return { STATUS.OK, now }
