-- Registers a client for a run's end, or answers with the end if it has come.
-- Returns: {OK}: registered | {ENDED, outcome line} | {GONE}
-- Writes: run.
-- Repeat-safe: a client is listed once.
-- Wakes: nobody.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local client = ARGV[1]
--- @include "lib/terminal"

local f = redis.call('HMGET', run_key, 'status', 'client')
if not f[1] then return { STATUS.GONE } end
if TERMINAL[f[1]] then return { STATUS.ENDED, redis.call('LINDEX', journal_key, -1) or '' } end
local clients = f[2] or ''
if client ~= '' and not string.find(' ' .. clients .. ' ', ' ' .. client .. ' ', 1, true) then
  redis.call('HSET', run_key, 'client', clients == '' and client or clients .. ' ' .. client)
end
return { STATUS.OK }
