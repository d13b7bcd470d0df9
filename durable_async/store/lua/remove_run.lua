-- Removes an ended run and everything that belongs to it alone: its id is to begin anew. A root has no parent's list of
-- children: its own once more stands for it.
-- Returns: {OK} | {DONE}: there was none | {RETRY}: it is active, or has children that are listed still.
-- Writes: run, journal, inbox, children, shared, walks, index.
-- Repeat-safe: the second call finds nothing.
-- Wakes: nobody.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local children_key = KEYS[4]
local walks_key = KEYS[5]
local index_key = KEYS[6]
local parents_children_key = KEYS[7]
local shared_key = KEYS[8]
local id = ARGV[1]
--- @include "lib/terminal"

local status = redis.call('HGET', run_key, 'status')
if status and not TERMINAL[status] then return { STATUS.RETRY } end
-- From the leaves up: nothing of the tree is left without somebody who lists it.
if redis.call('ZCARD', children_key) > 0 then return { STATUS.RETRY } end
redis.call('HLEN', walks_key)
redis.call('ZCARD', index_key)
redis.call('ZCARD', parents_children_key)
redis.call('DEL', run_key, journal_key, inbox_key, children_key, shared_key)
redis.call('HDEL', walks_key, 'x' .. id, 'o' .. id, 't' .. id, 'e' .. id, 'p' .. id, 'c' .. id)
redis.call('ZREM', index_key, id)
redis.call('ZREM', parents_children_key, id)
return { status and STATUS.OK or STATUS.DONE }
