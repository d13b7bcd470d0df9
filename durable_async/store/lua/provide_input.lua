-- Answers an open question of a run: the question is closed, and the answer put into the run's inbox.
-- Returns: {OK, now} | {DONE}: the run has ended or is being cancelled, or the question's time is over
--   | {STALE}: it is not the question that the caller has read | {GONE} | {RETRY}: the owner changed
--   | {FULL}: the inbox is full.
-- Writes: run, inbox, inputs, questions, worker stream or queue.
-- Repeat-safe: a token's answer is accepted once, and a repeat gets the first reply.
-- Wakes: the run.
local run_key = KEYS[1]
local inbox_key = KEYS[2]
local worker_key = KEYS[3]
local queue_key = KEYS[4]
local inputs_key = KEYS[5]
local questions_key = KEYS[6]
local given_now = ARGV[1]
local id = ARGV[2]
local name = ARGV[3]
local head = ARGV[4]
local expires_ms = ARGV[5]
local token = ARGV[6]
local body = ARGV[7]
local owner = ARGV[8]
local inbox_limit = ARGV[9]
--- @include "lib/now"
--- @include "lib/terminal"
--- @include "lib/deliver"
--- @include "lib/questions"

local seen = 'answer:' .. token
local f = redis.call('HMGET', run_key, 'status', 'mail', 'owner', 'nudged', 'taken', 'cancel_at', 'inputs', seen)
if not f[1] then return { STATUS.GONE } end
local now = now_ms(given_now)
-- Accepted, and the reply was lost; also if the run has gone on since, or ended.
if f[8] then return { STATUS.OK, now } end
local mail, taken = tonumber(f[2]) or 0, tonumber(f[5]) or 0
-- A cancel that the body has not seen closes every question that is open: an answer would be accepted and dropped.
-- What its cleanup asks later can be answered.
if TERMINAL[f[1]] or (tonumber(f[6]) or 0) > taken then return { STATUS.DONE } end
-- Somebody else was faster, or its time was over, and it may have been asked anew with other choices.
local question = redis.call('HGET', questions_key, id .. '\n' .. name)
if not question or string.sub(question, 1, #head) ~= head then return { STATUS.STALE } end
-- Its time is over, and its owner has not said so yet: to accept an answer now would depend on who looks first.
if expires_ms ~= '' and now >= tonumber(expires_ms) then return { STATUS.DONE } end
-- The worker whose stream was declared is not the owner any more: a wake-up there would go astray.
if (f[3] or '') ~= owner then return { STATUS.RETRY } end
if mail - taken >= tonumber(inbox_limit) then return { STATUS.FULL } end

local run = { status = f[1], mail = mail, nudged = f[4] }
plan_message(inbox_key, run, owner ~= '' and worker_key or nil, queue_key)
redis.call('ZCARD', inputs_key)
local names = remove_name(read_names(f[7]), name)
close_questions(inputs_key, questions_key, id, { name })
deliver_message(now, run_key, inbox_key, id, run, 'I' .. body, { seen, '1', 'inputs', cmsgpack.pack(names) })
return { STATUS.OK, now }
