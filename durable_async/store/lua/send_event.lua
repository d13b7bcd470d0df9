-- Puts an event into a run's inbox.
-- Returns: {OK, now} | {DONE}: the run has ended | {GONE} | {RETRY}: the owner changed | {FULL}: the inbox is full.
-- Writes: run, inbox, worker stream or queue.
-- Repeat-safe: an event id is accepted once in a run's life.
-- Wakes: the run.
--- @batch
local run_key = KEYS[1]
local inbox_key = KEYS[2]
local worker_key = KEYS[3]
local queue_key = KEYS[4]
local given_now = ARGV[1]
local id = ARGV[2]
local event_id = ARGV[3]
local body = ARGV[4]
local owner = ARGV[5]
local inbox_limit = ARGV[6]
--- @include "lib/now"
--- @include "lib/terminal"
--- @include "lib/deliver"

local seen = 'event:' .. event_id
local f = redis.call('HMGET', run_key, 'status', 'mail', 'owner', 'nudged', 'taken', seen)
if not f[1] then return { STATUS.GONE } end
local now = now_ms(given_now)
-- The same event id is the same event, also if its first reply was lost and the run has ended since.
if f[6] then return { STATUS.OK, now } end
if TERMINAL[f[1]] then return { STATUS.DONE } end
-- The worker whose stream was declared is not the owner any more: a wake-up there would go astray.
if (f[3] or '') ~= owner then return { STATUS.RETRY } end
local mail = tonumber(f[2]) or 0
if mail - (tonumber(f[5]) or 0) >= tonumber(inbox_limit) then return { STATUS.FULL } end

local run = { status = f[1], mail = mail, nudged = f[4] }
plan_message(inbox_key, run, owner ~= '' and worker_key or nil, queue_key)
deliver_message(now, run_key, inbox_key, id, run, 'E' .. body, { seen, '1' })
return { STATUS.OK, now }
