-- One chunk of the walk over the children of a run that was taken up again: they lose their time to live.
-- Slots: behind the fixed keys run, journal, children and shared of each child; ARGV from 4 on the child ids.
-- Returns: {OK} | {STALE}: another worker has taken this chunk.
-- Writes: walks, the children's runs, journals, lists of children and shared inputs.
-- Repeat-safe: the cursor moves once.
-- Wakes: nobody.
local walks_key = KEYS[1]
local item = ARGV[1]
local cursor = ARGV[2]
local next_cursor = ARGV[3]

if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end
local kids = {}
for i = 4, #ARGV do
  -- A damaged record must not hold up its siblings.
  local f = redis.pcall('HMGET', KEYS[4 * i - 14], 'kids')
  kids[i] = not f.err and tonumber(f[1]) or 0
end
for i = 4, #ARGV do
  for offset = 0, 3 do redis.call('PERSIST', KEYS[4 * i - 14 + offset]) end
  -- A walk that gives its children their time to live is void, too.
  redis.call('HDEL', walks_key, 'e' .. ARGV[i])
  if kids[i] > 0 then redis.call('HSET', walks_key, 'p' .. ARGV[i], 0) end
end
if next_cursor == '' then
  redis.call('HDEL', walks_key, item)
else
  redis.call('HSET', walks_key, item, next_cursor)
end
return { STATUS.OK }
