-- Ends a run that its owner does not end: terminated, its cancel's grace over, or too many claims without a record.
-- Slots: a child has its parent's run, inbox, worker stream and queue behind the fixed keys.
-- Returns: {OK, now, waiting clients} | {DONE}: it had ended, or the cause is void | {GONE} | {RETRY}: the owner changed.
-- Writes: run, journal, inbox, timers, walks, streams; the parent's run, inbox and streams.
-- Repeat-safe: a second call finds the run terminal.
-- Wakes: the parent; the owner is nudged.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local timers_key = KEYS[4]
local walks_key = KEYS[5]
local worker_key = KEYS[6]
local queue_key = KEYS[7]
local given_now = ARGV[1]
local id = ARGV[2]
local cause = ARGV[3]
local status = ARGV[4]
local payload = ARGV[5]
local owner = ARGV[6]
local parent_id = ARGV[7]
local parent_owner = ARGV[8]
local crash_limit = ARGV[9]
--- @include "lib/now"
--- @include "lib/ending"

local run = read_run(run_key)
if not run then return { STATUS.GONE } end
if TERMINAL[run.status] then return { STATUS.DONE } end
if run.owner ~= owner then return { STATUS.RETRY } end
local now = now_ms(given_now)
-- The grace timer may be a late copy, and a poisoned run may have got a record since.
if cause == 'grace' and (run.grace == '' or tonumber(run.grace) > now) then return { STATUS.DONE } end
if cause == 'poison' and (run.status ~= 'ready' or run.claims < tonumber(crash_limit)) then return { STATUS.DONE } end

local parent = nil
if parent_id ~= '' then
  parent = { run_key = KEYS[8], inbox_key = KEYS[9], worker_key = KEYS[10], queue_key = KEYS[11],
    id = parent_id, owner = parent_owner }
end
if cause == 'terminate' and run.kids > 0 then redis.call('HSET', walks_key, 't' .. id, 0) end
if cause ~= 'terminate' and run.kids > 0 then
  redis.call('HSET', run_key, 'cancel', payload, 'cancel_kids', run.kids)
  redis.call('HSET', walks_key, 'x' .. id, 0)
end
local keys = {
  run = run_key, journal = journal_key, inbox = inbox_key, timers = timers_key, walks = walks_key,
  worker = run.owner ~= '' and worker_key or nil, queue = queue_key,
}
end_from_outside(now, keys, id, run, status, payload, parent)
return { STATUS.OK, now, run.client }
