-- The first line of a journal as it is with the input in it, if it only says where that is: an input that many children
-- of a run have is stored once, with the run. Nothing if the line needs no copy, or cannot have one. Only reads.
local function read_shared(journal_key, shared_key)
  local line = redis.pcall('LINDEX', journal_key, 0)
  if type(line) ~= 'string' or string.sub(line, 1, 1) ~= '@' then return nil end
  local input = redis.call('HGET', shared_key, string.match(line, '\n(.*)$') or '')
  return input and 'S' .. input
end
