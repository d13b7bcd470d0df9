-- How long an ended run is kept, in ms as text, or nil for ever: what the record holds may be damaged, and PEXPIRE must
-- not fail after other writes.
local function retention_of(text)
  if text and #text > 0 and #text <= 15 and not string.find(text, '%D') then return text end
  return nil
end
