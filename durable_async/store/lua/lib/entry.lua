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

-- The stream in which the entry lies that a record names; nil if it is in none that is known. Only reads, and never
-- raises: what cannot be found here is garbage, acked on sight by whoever reads it.
local function find_entry(entry, worker_key, queue_key)
  local stream_key = queue_key
  if string.sub(entry, 1, 1) == 'W' then stream_key = worker_key end
  if entry == '' or not stream_key then return nil end
  local entry_id = string.sub(entry, 2)
  if #redis.pcall('XRANGE', stream_key, entry_id, entry_id) == 0 then return nil end
  return stream_key
end

-- Acks and deletes an entry.
local function drop_entry(entry, stream_key)
  local entry_id = string.sub(entry, 2)
  redis.call('XACK', stream_key, 'workers', entry_id)
  redis.call('XDEL', stream_key, entry_id)
end
