-- Appends lines to a journal, in pieces: a call takes some thousands of arguments at most.
local function append_lines(journal_key, lines)
  for i = 1, #lines, 1000 do
    redis.call('RPUSH', journal_key, unpack(lines, i, math.min(i + 999, #lines)))
  end
end
