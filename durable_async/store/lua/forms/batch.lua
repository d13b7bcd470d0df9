-- The end of a batch: `transition` is the script as a function. The first argument says of each call how many keys
-- and how many arguments it has; they follow, those of each call in turn. A call does all that it does alone, and sees
-- what the calls before it have written. What raises is answered with nothing: it has written nothing either, is sent
-- again alone, and tells there what is wrong.
local replies, at_key, at_arg = {}, 0, 1
for n_keys, n_args in string.gmatch(ARGV[1], '(%d+) (%d+)') do
  local keys = { unpack(KEYS, at_key + 1, at_key + n_keys) }
  local args = { unpack(ARGV, at_arg + 1, at_arg + n_args) }
  at_key, at_arg = at_key + n_keys, at_arg + n_args
  local is_done, reply = pcall(transition, keys, args)
  replies[#replies + 1] = is_done and not reply.err and reply
end
return replies
