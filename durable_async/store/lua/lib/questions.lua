-- The names of a run's open questions, as its record lists them. One that is damaged lists none.
local function read_names(packed)
  local good, names = pcall(cmsgpack.unpack, packed or '')
  local found = {}
  if good and type(names) == 'table' then
    for _, name in ipairs(names) do
      if type(name) == 'string' then found[#found + 1] = name end
    end
  end
  return found
end

-- The names without one of them.
local function remove_name(names, gone)
  local left = {}
  for _, name in ipairs(names) do
    if name ~= gone then left[#left + 1] = name end
  end
  return left
end

-- Takes questions out of the list and the hash in which people find them. The caller has read both keys' types.
local function close_questions(inputs_key, questions_key, id, names)
  for _, name in ipairs(names) do
    redis.call('HDEL', questions_key, id .. '\n' .. name)
    redis.call('ZREM', inputs_key, id .. '\n' .. name)
  end
end

-- What a commit asks people, and takes back, applied in its order to what is open now. Four arguments each: `a` ask,
-- `c` close, `x` its time is over; the name; the head by which this very question is known; of `a` the rest of it, of
-- `x` what the run is told unless somebody has answered: whoever finds the question open, an answer or the end of its
-- time, closes it, so the run is told one of the two. Only reads. Returns the last used argument.
local function read_questions(asked, n_asked, at, args)
  asked.touched, asked.open, asked.is_changed, asked.tells = {}, {}, {}, {}
  asked.names = read_names(redis.call('HGET', asked.run_key, 'inputs'))
  redis.call('ZCARD', asked.inputs_key)
  for _ = 1, n_asked do
    local letter, name, head, rest = args[at + 1], args[at + 2], args[at + 3], args[at + 4]
    local question = asked.open[name]
    if question == nil then
      question = redis.call('HGET', asked.questions_key, asked.id .. '\n' .. name)
      asked.touched[#asked.touched + 1] = name
    end
    if letter == 'a' then
      question, asked.is_changed[name] = head .. rest, true
    elseif question and string.sub(question, 1, #head) == head then
      question, asked.is_changed[name] = false, true
      if letter == 'x' then asked.tells[#asked.tells + 1] = 'I' .. rest end
    end
    asked.open[name] = question
    at = at + 4
  end
  for _, name in ipairs(asked.touched) do
    asked.names = remove_name(asked.names, name)
    if asked.open[name] then asked.names[#asked.names + 1] = name end
  end
  return at
end

-- Writes what read_questions has decided.
local function write_questions(asked)
  for _, name in ipairs(asked.touched) do
    local question, member = asked.open[name], asked.id .. '\n' .. name
    if question and asked.is_changed[name] then
      redis.call('HSET', asked.questions_key, member, question)
      redis.call('ZADD', asked.inputs_key, string.match(question, '^%d+ (%d+)'), member)
    elseif asked.is_changed[name] then
      close_questions(asked.inputs_key, asked.questions_key, asked.id, { name })
    end
  end
end
