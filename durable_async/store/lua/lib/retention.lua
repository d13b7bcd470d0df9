-- How long an ended run is kept, in ms, or nil for ever: what the record holds may be damaged, and PEXPIRE must not
-- fail after other writes.
local function retention_of(text)
  local ms = tonumber(text)
  if ms and ms >= 0 and ms < 1e15 then return math.floor(ms) end
  return nil
end
