local clock = nil

-- Milliseconds by the server's clock, or the value that only tests send. Asked for once in a script, and so once in a
-- batch: between two of its calls nobody has a turn.
local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  if not clock then
    local t = redis.call('TIME')
    clock = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return clock
end
