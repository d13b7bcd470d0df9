-- Large inputs that several runs of a tree have: the bytes are in the hash of one run, the holder, and a mark (an
-- empty value) in those of the runs between it and those that have the input. What is asked for is looked for upwards.

-- A function that finds the bytes of an input, by its fingerprint, in the first of some hashes that has them.
local function open_shared(keys, first, last)
  local found = {}
  return function(fingerprint)
    for i = first, last do
      local input = not found[fingerprint] and redis.pcall('HGET', keys[i], fingerprint)
      if type(input) == 'string' and input ~= '' then found[fingerprint] = input end
    end
    return found[fingerprint]
  end
end

-- The first line of a journal as it is with the input in it, if it only says where that is. Nothing if the line needs
-- no copy, or cannot have one. Only reads.
local function read_shared(journal_key, find_input)
  local line = redis.pcall('LINDEX', journal_key, 0)
  if type(line) ~= 'string' or string.sub(line, 1, 1) ~= '@' then return nil end
  local input = find_input(string.match(line, '\n(.*)$') or '')
  return input and 'S' .. input
end

-- What a run needs to become a holder: the inputs that it has a mark of, fingerprint and bytes in turn, and how many
-- bytes that are. Only reads.
local function read_marked(shared_key, find_input)
  local flat, size = {}, 0
  -- An error has no names in it.
  for _, fingerprint in ipairs(redis.pcall('HKEYS', shared_key)) do
    local input = redis.call('HSTRLEN', shared_key, fingerprint) == 0 and find_input(fingerprint)
    if input then
      flat[#flat + 1], flat[#flat + 2] = fingerprint, input
      size = size + #input
    end
  end
  return flat, size
end
