local checked = {}

-- A key of another type raises here, before anything is written; asked for once, and so once in a batch: what our own
-- writes make of a sorted set is one, or gone.
local function check_zset(key)
  if not checked[key] then redis.call('ZCARD', key) end
  checked[key] = true
end
