-- Takes up a batch of woken runs whose copies the caller still has in memory.
-- Slots: KEYS from 2 on are run and inbox of each run in turn; ARGV from 3 on are entry, epoch, nonce and seq of each.
-- Returns: {now, one reply per run}: {OK, inbox page} | {RELOAD}: the copy is not the journal's, drop it
--   and claim | {STALE}: the entry is garbage | {GONE}
--   | {HELD, queue}: its queue is paused; the caller puts the entry back
--   | {CORRUPT, error}: a key of this run has a wrong type; the others of the batch are not affected.
-- Writes: run.
-- Repeat-safe: a running run with the same entry and fence is answered again.
-- Wakes: nobody.
local gates_key = KEYS[1]
local given_now = ARGV[1]
local page = ARGV[2]
--- @include "lib/now"
--- @include "lib/gates"
--- @include "lib/page"

local is_paused = read_gates(gates_key)
local now = now_ms(given_now)
local replies, writes = { now }, {}
for i = 1, (#KEYS - 1) / 2 do
  local run_key, inbox_key = KEYS[2 * i], KEYS[2 * i + 1]
  local at = 4 * i - 1
  local entry, epoch, nonce, seq = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local f = redis.pcall('HMGET', run_key, 'status', 'entry', 'epoch', 'nonce', 'seq', 'mail', 'taken')
  local queue = is_paused and f[1] == 'ready' and redis.call('HGET', run_key, 'queue')
  local reply
  if f.err then
    reply = { STATUS.CORRUPT, f.err }
  elseif not f[1] then
    reply = { STATUS.GONE }
  elseif f[2] ~= entry or (f[1] ~= 'ready' and f[1] ~= 'running') then
    reply = { STATUS.STALE }
  elseif f[3] ~= epoch or f[4] ~= nonce or f[5] ~= seq then
    -- Somebody else owned it meanwhile, or the server lost its last writes. The entry counts all the same: it must
    -- be claimed, not acked.
    reply = { STATUS.RELOAD }
  elseif queue and is_paused(queue) then
    reply = { STATUS.HELD, queue }
  else
    local inbox = {}
    if (tonumber(f[6]) or 0) > (tonumber(f[7]) or 0) then
      inbox = read_page(inbox_key, 0, tonumber(page))
    end
    if inbox.err then
      reply = { STATUS.CORRUPT, inbox.err }
    else
      reply = { STATUS.OK, inbox }
      if f[1] == 'ready' then writes[#writes + 1] = run_key end
    end
  end
  replies[i + 1] = reply
end
for _, run_key in ipairs(writes) do redis.call('HSET', run_key, 'status', 'running', 'nudged', '') end
return replies
