-- Marks a run as cancelled: one that never started ends at once, another is told and ends by itself.
-- Slots: a child has its parent's run, inbox, worker stream and queue behind the fixed keys; last come the eight keys
--   of the room of its queue (lib/room), and that queue as the last of ARGV.
-- Returns: {OK, now, waiting clients} | {DONE}: it had ended, been cancelled, undoes what it did, or the walk is void,
--   or was done
--   | {GONE} | {RETRY}: the owner changed.
-- Writes: run, journal, inbox, timers, walks, blocked, the room, worker stream or queue; on an end the parent's.
-- Repeat-safe: the same token gets the first answer.
-- Wakes: the run; on an end its parent.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local timers_key = KEYS[4]
local walks_key = KEYS[5]
local worker_key = KEYS[6]
local queue_key = KEYS[7]
local blocked_key = KEYS[8]
local given_now = ARGV[1]
local id = ARGV[2]
local reason = ARGV[3]
local token = ARGV[4]
local grace_ms = ARGV[5]
local owner = ARGV[6]
local parent_id = ARGV[7]
local parent_owner = ARGV[8]
local walk = ARGV[9]
--- @include "lib/now"
--- @include "lib/ending"

local run = read_run(run_key)
if not run then return { STATUS.GONE } end
local now = now_ms(given_now)
-- A walk of one is done with this very script: taken out later, it might be that of the run's next life by then.
local is_last = walk == 'c' .. id
-- A repeat after a lost reply, or the same walk done by another worker: the mark is this caller's own. Who waits is
-- named only if that has ended the run: clients are told of an end.
if run.cancel_token == token then
  if is_last then redis.call('HDEL', walks_key, walk) end
  return { STATUS.OK, now, TERMINAL[run.status] and run.cancel_at == 0 and run.client or '' }
end
-- Another worker has done this walk, or the run has begun another life since, and it was none of that.
if walk ~= '' and not redis.call('HGET', walks_key, walk) then return { STATUS.DONE } end
-- It has ended, or all but its compensations, and these are not to be stopped half-way.
if TERMINAL[run.status] or run.cancel_at > 0 or run.saga == 'undoing' then
  if is_last then redis.call('HDEL', walks_key, walk) end
  return { STATUS.DONE }
end
-- The worker whose stream was declared is not the owner any more: a wake-up there would go astray.
if run.owner ~= owner then return { STATUS.RETRY } end

local keys = {
  run = run_key, journal = journal_key, inbox = inbox_key, timers = timers_key, walks = walks_key,
  worker = run.owner ~= '' and worker_key or nil, queue = queue_key,
  room = { KEYS, #KEYS - 7, ARGV[#ARGV] },
}
if not run.is_started then
  -- Never started in this life: nobody holds a copy of it, so it ends here. A claim in flight finds its entry gone.
  local parent = nil
  if parent_id ~= '' then
    parent = { run_key = KEYS[9], inbox_key = KEYS[10], worker_key = KEYS[11], queue_key = KEYS[12],
      id = parent_id, owner = parent_owner }
  end
  local plan = plan_end_from_outside(keys, run, parent)
  local set = { 'cancel', reason, 'cancel_token', token, 'cancel_kids', run.kids }
  if run.kids > 0 then redis.call('HLEN', walks_key) end
  end_from_outside(now, keys, id, plan, 'cancelled', reason, set)
  if is_last then redis.call('HDEL', walks_key, walk) end
  -- What an earlier life of the run left behind.
  if run.kids > 0 then redis.call('HSET', walks_key, 'x' .. id, 0) end
  return { STATUS.OK, now, run.client }
end

local is_blocked = run.status == 'blocked'
if is_blocked then
  redis.call('HLEN', blocked_key)
  run.status = 'parked'
end
plan_message(inbox_key, run, keys.worker, queue_key)
if run.kids > 0 then redis.call('HLEN', walks_key) end

-- The first write, to the one key not read. Grace is a timer of the store, armed by the script that causes it.
local grace_due = now + tonumber(grace_ms)
redis.call('ZADD', timers_key, grace_due, 'g' .. id)
-- The children known now are cancelled by the walk; those created later are born cancelled by the commit. The subtree
-- is durable work, so that a canceller who dies here leaves nothing undone.
if run.kids > 0 then redis.call('HSET', walks_key, 'x' .. id, 0) end
if is_last then redis.call('HDEL', walks_key, walk) end
if is_blocked then redis.call('HDEL', blocked_key, id) end
deliver_message(now, run_key, inbox_key, id, run, 'X' .. reason, { 'cancel', reason, 'cancel_token', token,
  'cancel_at', run.mail + 1, 'cancel_kids', run.kids, 'grace', grace_due })
return { STATUS.OK, now, '' }
