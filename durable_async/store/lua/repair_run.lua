-- Looks whether everything about one run is as it must be and, if asked to, mends it; also what is left of a run whose
-- record is gone.
-- Slots: a child has its parent's run and children behind the fixed keys; then come run and journal of each child that
--   the run's record says it waits for; last the eight keys of the room of its queue (lib/room). ARGV from 10 on, for
--   each of those children: its id, and `1` if the run's journal does not hold its end.
-- Returns: {OK, length of the journal, what was found, children that may have ended untold} | {RETRY}: what the caller
--   read of it has changed | {CORRUPT, error}: a key of this run has a wrong type.
-- Writes: run, journal, inbox, children, timers, walks, blocked, index, gates, meta, worker stream, queue; awaited
--   children.
-- Repeat-safe: the second call finds nothing to mend.
-- Wakes: the run.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local inbox_key = KEYS[3]
local children_key = KEYS[4]
local timers_key = KEYS[5]
local walks_key = KEYS[6]
local blocked_key = KEYS[7]
local index_key = KEYS[8]
local meta_key = KEYS[9]
local worker_key = KEYS[10]
local queue_key = KEYS[11]
local gates_key = KEYS[12]
local shared_key = KEYS[13]
local given_now = ARGV[1]
local id = ARGV[2]
local may_write = ARGV[3]
local owner = ARGV[4]
local queue = ARGV[5]
local parent_id = ARGV[6]
local length = ARGV[7]
local lease_ms = ARGV[8]
local orphan_ms = ARGV[9]
--- @include "lib/now"
--- @include "lib/structure"

local run = read_links(run_key)
if run and run.err then return { STATUS.CORRUPT, run.err } end
-- Its streams and its parent were declared as they were when the caller looked.
if run and (run.owner ~= owner or run.queue ~= queue or run.parent ~= parent_id) then return { STATUS.RETRY } end
local keys = {
  run = run_key, journal = journal_key, inbox = inbox_key, children = children_key, timers = timers_key,
  walks = walks_key, blocked = blocked_key, index = index_key, worker = worker_key, queue = queue_key,
  gates = gates_key, shared = shared_key, room = { KEYS, #KEYS - 7, string.match(queue, '^[^:]*') },
}
local next_key = 14
if parent_id ~= '' then
  keys.parent, keys.siblings = KEYS[14], KEYS[15]
  next_key = 16
end

local now = now_ms(given_now)
local counts, has = {}, 0
local function look()
  has = redis.call('LLEN', journal_key)
  local awaited = {}
  for i = 10, #ARGV, 2 do
    -- The caller has read all there is to read, or its word counts for nothing.
    local is_untold = ARGV[i + 1] == '1' and has == tonumber(length)
    awaited[#awaited + 1] = { id = ARGV[i], run_key = KEYS[next_key], journal_key = KEYS[next_key + 1],
      is_untold = is_untold }
    next_key = next_key + 2
  end
  local plan = read_damage(keys, id, run, awaited, now, tonumber(lease_ms))
  for kind in pairs(plan.found) do
    if not INCURABLE[kind] then
      local field = 'fixed:' .. kind
      counts[#counts + 1] = field
      counts[#counts + 1] = (tonumber(redis.call('HGET', meta_key, field) or '') or 0) + 1
    end
  end
  return plan
end
-- Nothing has been written yet, and one damaged run must not keep the others from being looked at.
local is_read, plan = pcall(look)
if not is_read then return { STATUS.CORRUPT, type(plan) == 'table' and plan.err or tostring(plan) } end
local found = {}
for kind in pairs(plan.found) do found[#found + 1] = kind end
if may_write == '1' and #counts > 0 then
  redis.call('HSET', meta_key, unpack(counts))
  repair_damage(keys, id, run, plan, now, tonumber(orphan_ms))
end
return { STATUS.OK, has, found, plan.asks }
