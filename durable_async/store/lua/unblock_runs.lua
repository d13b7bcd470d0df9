-- Makes blocked runs ready again: code that may fit them is here, or a person asks for another try.
-- Slots: behind the fixed keys run and queue of each; ARGV from 3 on id and queue of each.
-- Returns: {OK, one answer per run}: OK | STALE: it is not blocked | GONE: no such record | RETRY: its queue is another
--   one | CORRUPT: a key of this run has a wrong type; the others of the batch are not affected.
-- Writes: blocked, runs, worker stream or queues.
-- Repeat-safe: a second call finds the runs not blocked; with a token it gets the first answer.
-- Wakes: the worker that asks, or whoever reads the queues.
local blocked_key = KEYS[1]
local worker_key = KEYS[2]
local worker = ARGV[1]
local token = ARGV[2]
--- @include "lib/entry"

redis.call('HLEN', blocked_key)
-- To the worker that asks: in the queue, one that still has the code that does not fit might be quicker.
local is_own = worker ~= '' and redis.call('TYPE', worker_key).ok == 'stream'
local answers, woken, gone = {}, {}, {}
for i = 1, #KEYS / 2 - 1 do
  local run_key, queue_key = KEYS[2 * i + 1], KEYS[2 * i + 2]
  local id, queue = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local f = redis.pcall('HMGET', run_key, 'status', 'queue', 'unblocked')
  local kind = redis.call('TYPE', queue_key).ok
  if f.err or (kind ~= 'stream' and kind ~= 'none') then
    answers[i] = STATUS.CORRUPT
  elseif f[1] ~= 'blocked' then
    -- Cancelled, ended or gone since it was listed.
    gone[#gone + 1] = id
    answers[i] = f[1] and STATUS.STALE or STATUS.GONE
    if token ~= '' and f[3] == token then answers[i] = STATUS.OK end
  elseif f[2] ~= queue then
    answers[i] = STATUS.RETRY
  else
    woken[#woken + 1] = { id = id, run_key = run_key, queue_key = queue_key }
    answers[i] = STATUS.OK
  end
end

for _, run in ipairs(woken) do
  local set = { 'status', 'ready', 'waiting', '', 'entry' }
  if is_own then
    set[6], set[7], set[8] = add_entry(run.id, 'W', worker_key), 'owner', worker
  else
    set[6] = add_entry(run.id, 'Q', run.queue_key)
  end
  if token ~= '' then set[#set + 1], set[#set + 2] = 'unblocked', token end
  redis.call('HSET', run.run_key, unpack(set))
  gone[#gone + 1] = run.id
end
if #gone > 0 then redis.call('HDEL', blocked_key, unpack(gone)) end
return { STATUS.OK, answers }
