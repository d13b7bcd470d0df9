-- Takes a watcher off a run's list of those who are told.
-- Returns: {OK} | {GONE}
-- Writes: run.
-- Repeat-safe: what is not listed stays so.
-- Wakes: nobody.
local run_key = KEYS[1]
local mark = ARGV[1]

local f = redis.call('HMGET', run_key, 'status', 'client')
if not f[1] then return { STATUS.GONE } end
local left = {}
for client in string.gmatch(f[2] or '', '%S+') do
  if client ~= mark then left[#left + 1] = client end
end
local clients = table.concat(left, ' ')
if clients ~= (f[2] or '') then redis.call('HSET', run_key, 'client', clients) end
return { STATUS.OK }
