-- Takes the runs out of the index whose records have expired: a sorted set cannot forget its members by itself.
-- Slots: behind the index the record of each run; ARGV are the run ids.
-- Returns: {OK, how many of the runs are gone}
-- Writes: index.
-- Repeat-safe: what is gone is gone, and counted again.
-- Wakes: nobody.
local index_key = KEYS[1]

redis.call('ZCARD', index_key)
local gone = {}
for i = 2, #KEYS do
  -- An id that was started again meanwhile has a record: it stays listed.
  if redis.call('EXISTS', KEYS[i]) == 0 then gone[#gone + 1] = ARGV[i - 1] end
end
if #gone > 0 then redis.call('ZREM', index_key, unpack(gone)) end
return { STATUS.OK, #gone }
