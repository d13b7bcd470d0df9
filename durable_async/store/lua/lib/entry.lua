-- Where a run's next entry goes: to its owner's own stream while that exists (a wake-up must never create the stream
-- of a dead worker), else to its queue. Only reads; a queue of a wrong type raises here, before anything is written.
-- Returns the letter by which the record names the stream, and its key.
local function find_stream(worker_key, queue_key)
  if worker_key and redis.call('TYPE', worker_key).ok == 'stream' then return 'W', worker_key end
  redis.call('XLEN', queue_key)
  return 'Q', queue_key
end

-- Adds the one entry that stands for "somebody must work on this run". Returns what the record must name.
local function add_entry(id, letter, stream_key)
  return letter .. redis.call('XADD', stream_key, '*', 'r', id)
end

-- Where the entry lies that a record names; nil if there is none. Only reads. The worker's stream may be unknown to
-- the caller; what stays behind there is garbage, acked on sight by whoever reads it.
local function find_entry(entry, worker_key, queue_key)
  if entry == '' then return nil end
  local stream_key = queue_key
  if string.sub(entry, 1, 1) == 'W' then stream_key = worker_key end
  if stream_key and redis.call('TYPE', stream_key).ok == 'stream' then return stream_key end
  return nil
end

-- Acks and deletes an entry.
local function drop_entry(entry, stream_key)
  local entry_id = string.sub(entry, 2)
  redis.call('XACK', stream_key, 'workers', entry_id)
  redis.call('XDEL', stream_key, entry_id)
end
