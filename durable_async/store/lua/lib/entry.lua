-- Adds the one entry that stands for "somebody must work on this run": to the
-- owner's own stream while that exists (NOMKSTREAM: a wake-up must never create
-- the stream of a dead worker), else to the run's queue. Returns what the record
-- names: the stream's letter and the entry's id.
local function add_entry(id, worker_key, queue_key)
  if worker_key then
    local made = redis.call('XADD', worker_key, 'NOMKSTREAM', '*', 'r', id)
    if made then return 'W' .. made end
  end
  return 'Q' .. redis.call('XADD', queue_key, '*', 'r', id)
end

-- Acks and deletes the entry a record names. The worker's stream may be unknown
-- to the caller; what stays behind is garbage, acked on sight by whoever reads it.
local function drop_entry(entry, worker_key, queue_key)
  if entry == '' then return end
  local key = queue_key
  if string.sub(entry, 1, 1) == 'W' then key = worker_key end
  if not key then return end
  local entry_id = string.sub(entry, 2)
  redis.call('XACK', key, 'workers', entry_id)
  redis.call('XDEL', key, entry_id)
end
