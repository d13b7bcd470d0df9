-- Says which of some runs need a closer look: those that are active, and what looks unfinished about ended ones.
-- Slots: KEYS are the records.
-- Returns: {OK, for each run: status, owner, queue, parent and what it waits for, or nothing}
-- Writes: nothing.
-- Repeat-safe: it only reads.
-- Wakes: nobody.
local looks_at_all = ARGV[1]
--- @include "lib/terminal"
--- @include "lib/retention"

local found = {}
for i = 1, #KEYS do
  local run_key = KEYS[i]
  local f = redis.pcall('HMGET', run_key, 'status', 'owner', 'queue', 'parent', 'waiting', 'entry', 'retention')
  if f.err then
    found[i] = { 'unreadable' }
  elseif looks_at_all ~= '1' and not f[1] then
    -- Expired: the purge of the index sees to that.
    found[i] = {}
  elseif looks_at_all ~= '1' and TERMINAL[f[1]] and (f[6] or '') == ''
    and (not retention_of(f[7]) or redis.call('PTTL', run_key) ~= -1) then
    found[i] = {}
  else
    for at = 1, 5 do f[at] = f[at] or '' end
    found[i] = { f[1], f[2], f[3], f[4], f[5] }
  end
end
return { STATUS.OK, found }
