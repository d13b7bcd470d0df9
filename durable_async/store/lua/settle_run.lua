-- Ends a run that its owner does not end: terminated, its cancel's grace over, its time over with nobody there to
-- see it, or too many claims without a record.
-- Slots: a child has its parent's run, inbox, worker stream and queue behind the fixed keys; last come the eight keys
--   of the room of its queue (lib/room), and that queue as the last of ARGV.
-- Returns: {OK, now, waiting clients} | {DONE}: it had ended, or the cause is void | {GONE}
--   | {RETRY}: the owner changed.
-- Writes: run, journal, inbox, timers, walks, blocked, inputs, questions, the room, streams; the parent's run, inbox,
--   streams. A timer that is void, or is to look again.
-- Repeat-safe: a second call finds the run terminal; with a token it gets the first answer.
-- Wakes: the parent; the owner is nudged.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local timers_key = KEYS[4]
local walks_key = KEYS[5]
local worker_key = KEYS[6]
local queue_key = KEYS[7]
local blocked_key = KEYS[8]
local inputs_key = KEYS[9]
local questions_key = KEYS[10]
local given_now = ARGV[1]
local id = ARGV[2]
local cause = ARGV[3]
local status = ARGV[4]
local payload = ARGV[5]
local owner = ARGV[6]
local parent_id = ARGV[7]
local parent_owner = ARGV[8]
local bound = ARGV[9]
local token = ARGV[10]
--- @include "lib/now"
--- @include "lib/ending"
--- @include "lib/questions"

local run = read_run(run_key)
if not run or TERMINAL[run.status] then
  -- A timer that outlived its run would be handed out for ever.
  if cause == 'grace' then redis.call('ZREM', timers_key, 'g' .. id) end
  if cause == 'timeout' then redis.call('ZREM', timers_key, 'r' .. id) end
  -- A repeat after a lost reply: this very call has ended it.
  if run and token ~= '' and run.ended_by == token then return { STATUS.OK, now_ms(given_now), run.client } end
  return { run and STATUS.DONE or STATUS.GONE }
end
if run.owner ~= owner then return { STATUS.RETRY } end
local now = now_ms(given_now)
if cause == 'grace' then
  local due = tonumber(run.grace)
  -- One that has something to undo is cut by its owner, and then undoes it, however long that takes.
  if not due or run.saga ~= '' then
    redis.call('ZREM', timers_key, 'g' .. id)
    return { STATUS.DONE }
  elseif due > now then
    -- A late copy of an earlier life's timer was handed out.
    redis.call('ZADD', timers_key, due, 'g' .. id)
    return { STATUS.DONE }
  end
end
if cause == 'timeout' then
  local due, grace = tonumber(run.deadline), tonumber(bound)
  if not due then
    redis.call('ZREM', timers_key, 'r' .. id)
    return { STATUS.DONE }
  elseif due > now then
    -- A late copy of an earlier life's timer was handed out.
    redis.call('ZADD', timers_key, due, 'r' .. id)
    return { STATUS.DONE }
  elseif run.is_started
    and (due + grace > now or run.saga ~= '' or (run.status ~= 'ready' and run.status ~= 'blocked')) then
    -- Its body has seen the deadline, or will by the park's own timer: it cleans up and ends by itself. Only a run that
    -- nobody serves is ended here, and none that has something to undo.
    redis.call('ZADD', timers_key, math.max(due + grace, now + 1000), 'r' .. id)
    return { STATUS.DONE }
  end
end
-- Somebody else may have claimed it meanwhile, and got a record into its journal.
if cause == 'poison' and (run.status ~= 'ready' or run.claims < tonumber(bound)) then return { STATUS.DONE } end
-- What it had begun to undo is not undone, and somebody has to know.
if cause == 'poison' and run.saga == 'undoing' then status = 'compensation_failed' end

local parent = nil
if parent_id ~= '' then
  parent = { run_key = KEYS[11], inbox_key = KEYS[12], worker_key = KEYS[13], queue_key = KEYS[14],
    id = parent_id, owner = parent_owner }
end
local keys = {
  run = run_key, journal = journal_key, inbox = inbox_key, timers = timers_key, walks = walks_key,
  worker = run.owner ~= '' and worker_key or nil, queue = queue_key,
  room = { KEYS, #KEYS - 7, ARGV[#ARGV] },
}
local plan = plan_end_from_outside(keys, run, parent)
local is_blocked = run.status == 'blocked'
if is_blocked then redis.call('HLEN', blocked_key) end
local names = {}
if run.inputs then
  names = read_names(run.inputs)
  redis.call('ZCARD', inputs_key)
  redis.call('HLEN', questions_key)
end
local set = {}
if token ~= '' then set = { 'ended_by', token } end
if run.kids == 0 then
  end_from_outside(now, keys, id, plan, status, payload, set)
else
  -- The payload of a failure is no text: children are told a reason.
  redis.call('HLEN', walks_key)
  local reason = payload
  if status ~= 'cancelled' then reason = 'parent ' .. id .. ' ended: ' .. status end
  local n = #set
  set[n + 1], set[n + 2], set[n + 3], set[n + 4] = 'cancel', reason, 'cancel_kids', run.kids
  end_from_outside(now, keys, id, plan, status, payload, set)
  -- A cancel reaches every child; of a run that failed those go on that were started to outlive it.
  local letter = cause == 'terminate' and 't' or status == 'cancelled' and 'x' or 'o'
  redis.call('HSET', walks_key, letter .. id, 0)
end
if is_blocked then redis.call('HDEL', blocked_key, id) end
-- The owner closes its questions itself; one that does not end the run has no say any more.
close_questions(inputs_key, questions_key, id, names)
return { STATUS.OK, now, run.client }
