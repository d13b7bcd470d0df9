-- Takes a batch of runs, each through the entry its record names.
-- Slots: KEYS are run, journal and inbox of each run in turn; ARGV from 6 on are id and entry of each.
-- Returns: {now, one reply per run}: {OK, epoch, fields…, journal page, journal length, inbox page}
--   | {STALE}: the entry is garbage | {GONE}: no such run | {POISON, fields…}: the caller settles it.
-- Writes: run.
-- Repeat-safe: same nonce and entry get the same answer and count nothing.
-- Wakes: nobody.
local given_now = ARGV[1]
local owner = ARGV[2]
local nonce = ARGV[3]
local crash_limit = ARGV[4]
local page = ARGV[5]
--- @include "lib/now"

local now = now_ms(given_now)
local replies = { now }
local limit, last = tonumber(crash_limit), tonumber(page) - 1

for i = 1, #KEYS / 3 do
  local run_key, journal_key, inbox_key = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local entry = ARGV[5 + 2 * i]
  local f = redis.call('HMGET', run_key, 'status', 'entry', 'epoch', 'nonce', 'owner', 'claims', 'mail', 'taken',
    'started', 'workflow', 'queue', 'parent', 'ref', 'hint', 'pqueue', 'attempt', 'depth', 'created', 'version',
    'context')
  local status, epoch, claims = f[1], tonumber(f[3]) or 0, tonumber(f[6]) or 0
  local reply
  if not status then
    reply = { STATUS.GONE }
  elseif f[2] ~= entry then
    -- Read late, put back, or settled since: another entry counts now.
    reply = { STATUS.STALE }
  elseif status == 'running' and f[4] == nonce and f[5] == owner then
    -- The reply to this very claim was lost.
    reply = { STATUS.OK }
  elseif status ~= 'ready' then
    reply = { STATUS.STALE }
  else
    if f[5] ~= owner then claims = claims + 1 end
    if claims > limit then
      -- Each of the last owners died before it recorded anything. Ending a run needs
      -- its parent's keys, so the worker settles it.
      reply = { STATUS.POISON }
    else
      epoch = epoch + 1
      if f[9] then
        redis.call('HSET', run_key, 'status', 'running', 'owner', owner, 'epoch', epoch, 'nonce', nonce, 'seq', 0,
          'claims', claims, 'nudged', '')
      else
        f[9] = tostring(now)
        redis.call('HSET', run_key, 'status', 'running', 'owner', owner, 'epoch', epoch, 'nonce', nonce, 'seq', 0,
          'claims', claims, 'nudged', '', 'started', now)
      end
      reply = { STATUS.OK }
    end
  end
  if reply[1] == STATUS.OK or reply[1] == STATUS.POISON then
    local journal = redis.call('LRANGE', journal_key, 0, last)
    local length = #journal
    if length > last then length = redis.call('LLEN', journal_key) end
    local inbox = {}
    if (tonumber(f[7]) or 0) > (tonumber(f[8]) or 0) then inbox = redis.call('LRANGE', inbox_key, 0, last) end
    reply[2], reply[3], reply[4], reply[5], reply[6] = epoch, f, journal, length, inbox
  end
  replies[i + 1] = reply
end
return replies
